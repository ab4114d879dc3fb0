"""The blog's questions and what an ablation answers: the list that the first page shows."""

from dataclasses import dataclass

from fagan.records import Runs


@dataclass(frozen=True)
class Answer:
    """A question, what this ablation says to it, and where that can be checked.

    answer: a few words. evidence: sentences with n and an interval, or what it would take.
    n: the seeds that it rests on, 0 where it is open. page: an analysis notebook's stem.
    table: the file under tables/ that holds its numbers.
    """

    question: str
    answer: str
    evidence: str
    n: int
    page: str
    table: str


def answers(runs: Runs) -> list[Answer]:
    """Every question of the blog, in the order of the page."""
    return []
