"""The blog's questions and what an ablation answers: the list that the first page shows."""

from dataclasses import dataclass

import pandas as pd

from fagan.readings.questions import QUESTIONS
from fagan.readings.verdicts import Page
from fagan.records import Runs
from fagan.tables import DASH, comparisons


@dataclass(frozen=True)
class Answer:
    """A question, what this ablation says to it, and where that can be checked.

    question: of the blog or the paper. answer: a few words. evidence: sentences with n and an
    interval, or what it would take. n: the fewest seeds that a comparison rests on, 0 where the
    question is open. page: an analysis notebook's stem. table: the file under tables/ that holds
    its numbers. interval: of the first comparison that is called, else of the first, with its
    name, its measure and its unit.
    """

    question: str
    answer: str
    evidence: str
    n: int
    page: str
    table: str
    interval: str = ""


def answers(
    runs: Runs, known: pd.DataFrame | None = None, rows: pd.DataFrame | None = None
) -> list[Answer]:
    """Every question of the blog, in the order of the page.

    known: `ablations.known_arms`, from which an open question says what would answer it. rows:
    `tables.comparisons`, where it is at hand. Tables that other pages write (receptive fields,
    samples in train mode) are read where they are.
    """
    page = Page(runs, comparisons(runs) if rows is None else rows, known)
    found = []
    for question in QUESTIONS:
        said = question.answer(page)
        found.append(
            Answer(
                question=question.text,
                answer=said.answer,
                evidence=" ".join(said.evidence),
                n=said.n,
                page=question.page,
                table=question.table,
                interval=said.interval,
            )
        )
    return found


def answers_table(found: list[Answer]) -> pd.DataFrame:
    """The answers as a table: a row each, for answers.csv."""
    columns = list(Answer.__dataclass_fields__)
    return pd.DataFrame([[getattr(a, c) for c in columns] for a in found], columns=columns)


def recorded_answers(runs: Runs) -> list[Answer]:
    """The answers as the first page wrote them into answers.csv; none where it did not."""
    path = runs.folder / "tables" / "answers.csv"
    if not path.is_file():
        return []
    rows = pd.read_csv(path, keep_default_na=False).to_dict("records")
    return [Answer(**{name: row[name] for name in Answer.__dataclass_fields__}) for row in rows]


def heading(answer: Answer, number: int) -> str:
    """The claim as a heading, and the question that it answers."""
    return f"## {number}. {answer.answer}\n\n*{answer.question}*"


def body(answer: Answer) -> str:
    """What stands under the figure: the evidence, its file and the page that goes further."""
    name = answer.page.replace("_", " ")
    where = f"Numbers: `tables/{answer.table}`; more: [{name}]({answer.page}.html)."
    return f"{answer.evidence}\n\n{where}"


def overview(found: list[Answer]) -> pd.DataFrame:
    """The table at the top of the page."""
    rows = [(a.question, a.answer, a.n or DASH, a.interval or DASH, a.page) for a in found]
    return pd.DataFrame(rows, columns=["question", "answer", "n", "interval", "page"])
