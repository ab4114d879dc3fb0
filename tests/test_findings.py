"""What people read, README and findings.ipynb, against the records that it speaks of."""

import json
import re

import matplotlib
import numpy as np
import pandas as pd
import pytest

from fagan.environment import ROOT
from fagan.records import load_runs, makers
from fagan.statistics import compare, final_scores, minutes

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def records():
    found = {}
    for name in (
        "overnight",
        "celeba32",
        "celeba32-long",
        "celeba32-size",
        "celeba64-cpu",
        "cifar10-cpu",
        "ties",
        "reach",
        "kernels",
    ):
        found[name] = load_runs(f"published/{name}", ROOT / "results")
    return found


def test_every_finding_holds(tmp_path, monkeypatch):
    """The article's cells, its asserts among them; its figures are drawn but not written."""
    from fagan import plots

    matplotlib.use("Agg")
    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, path, alt="": drawn.append(path.name))
    monkeypatch.setattr(plots, "film", lambda frames, alt, *_, **__: drawn.append(alt))
    monkeypatch.setattr(plots, "show", lambda figure, alt, *_, **__: drawn.append(alt))
    book = json.loads((ROOT / "notebooks" / "findings.ipynb").read_text(encoding="utf-8"))
    names, checks = {}, 0
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            text = "".join(cell["source"])
            exec(compile(text, "findings.ipynb", "exec"), names)
            checks += text.count("assert ")
    assert checks >= 20 and len(drawn) >= 6


def test_each_finding_has_its_check():
    """A written finding is followed by the cell that asserts its numbers."""
    book = json.loads((ROOT / "notebooks" / "findings.ipynb").read_text(encoding="utf-8"))
    cells = book["cells"]
    for cell, after in zip(cells, [*cells[1:], None], strict=True):
        if cell["cell_type"] == "markdown" and "finding" in cell["metadata"].get("tags", []):
            assert after["cell_type"] == "code" and "assert " in "".join(after["source"])
            assert "finding" in after["metadata"]["tags"]


def claims(records) -> set[str]:
    """Every number that the records bear, as README writes it."""
    faces, photos = (final_scores(records[name]) for name in ("overnight", "cifar10-cpu"))
    mean = faces.groupby("arm")["fd_lite0"].mean()
    size = faces.groupby("arm")["parameters"].first() / 1e6
    against = compare(faces, "fd_lite0", "dcgan-wide").set_index("arm").loc["fagan"]
    outfit = faces.groupby("arm")["coherence_outfit"].mean()
    shown = ["dcgan", "dcgan-wide", "sagan", "sagan-wide", "fagan", "fagan-pure"]
    gates = records["overnight"].gates
    last = gates[gates["step"] == gates["step"].max()].set_index(["network", "layer", "arm"])
    last = last.sort_index()
    kin = ["fagan", "fagan-relativistic", "fagan-released", "fagan-no-bn"]
    in_d = last.loc[("discriminator", "full 8x8")].loc[kin, "alpha"]
    assert (in_d < 0).all()
    floor = records["overnight"].reference["final"]["fd_lite0_floor"]
    tied = pd.concat(final_scores(records[name]) for name in ("ties", "reach"))
    near = ["dcgan", "dcgan-wide", "fagan-closed", "fagan-in-g", "reach-k3"]
    kinds = tied["arm"].map(lambda arm: "near" if arm in near else arm.split("-")[0] == "reach")
    far = [tied.loc[kinds == kind, "coherence_28"] for kind in ("near", False, True)]
    sizes = [len(rows) for rows in far]
    far[1:] = [rows[rows > 0.7] for rows in far[1:]]
    assert far[0].max() < 0.25 and len(far[1]) + len(far[2]) > 0.8 * sum(sizes[1:])
    kernels, celeba = final_scores(records["kernels"]), final_scores(records["celeba32"])
    pairs = [("fagan", base) for base in ("dcgan-wide", "sagan-wide")]
    pairs += [("fagan-pure", base) for base in ("fagan", "dcgan-wide")]
    beside = [compare(celeba, "fd_lite0", base).set_index("arm").loc[arm] for arm, base in pairs]
    sized = final_scores(records["celeba32-size"])
    at_size = (
        compare(pd.concat([celeba, sized]), "fd_lite0", "dcgan-wider")
        .set_index("arm")
        .loc["fagan-pure"]
    )
    beside.append(at_size)
    recall = celeba.groupby("arm")["recall_face"].agg(["min", "max"])
    recall = recall.loc[["fagan", "fagan-relativistic"]]
    large, longer = (
        final_scores(records[name]).set_index("arm") for name in ("celeba64-cpu", "celeba32-long")
    )
    assert large["seed"].eq(0).all() and longer["seed"].eq(0).all()
    assert longer["steps"].eq(4 * 4000).all() and celeba["steps"].eq(4000).all()
    by_seed = celeba.pivot(index="seed", columns="arm", values="fd_lite0")
    worse = by_seed["fagan"] > by_seed["sagan-wide"]
    assert worse.equals(by_seed["fagan-pure"] < by_seed["dcgan-wide"])
    larger = celeba.groupby("arm")["parameters"].first()
    assert larger["fagan-pure"] / larger["fagan"] == pytest.approx(1.2, abs=0.005)
    speed = minutes(records["celeba32"]).groupby("arm")["images_per_second"].first()
    assert speed["fagan-pure"] / speed["dcgan-wide"] == pytest.approx(0.5, abs=0.01)
    real = records["celeba32"].reference["final"]["fd_lite0_floor"]
    gates = records["celeba32"].gates
    gates = (
        gates[gates["step"] == 4000].set_index(["network", "layer", "arm"])["alpha"].sort_index()
    )
    either = gates.loc["discriminator", "full 8x8"].loc[["fagan", "fagan-relativistic"]]
    assert either.min() < 0 < either.max()
    painted = gates.loc["generator", "full 32x32"]
    assert len(painted) == 5
    share = records["celeba32"].alpha.query("step == 4000 and layer == 'full 32x32'")
    share = 100 * share["attention_share"]
    closed = records["celeba32"].interventions.query("arm == 'fagan-pure'")
    closed = closed.set_index(["layer", "intervention", "seed"])["fd"].sort_index()
    closed = closed["full 32x32", "alpha = 0"] / closed["all", "as trained"] - 1
    one = kernels["arm"].str.contains("-k1")
    trainings = (faces, celeba, sized, longer, large, photos, tied, kernels)
    return {
        *(f"{mean[arm]:,.0f}" for arm in [*shown, "fagan-relativistic", "fagan-pure-k6"]),
        *(f"{v:,.0f}" for v in photos.groupby("arm")["fd_lite0"].mean()[shown]),
        *(f"{size[arm]:.2f}" for arm in [*shown, "fagan-pure-k6"]),
        *(f"{v:.0f}" for v in against[["change", "low", "high"]]),
        *(f"{v:.2f}" for v in outfit[["dcgan-wide", "sagan-wide", "fagan-pure", "fagan"]]),
        *(f"{floor:.1f}", f"{real:.1f}"),
        *(f"{v:,.0f}" for v in celeba.groupby("arm")["fd_lite0"].mean()),
        *(f"{abs(v):.0f}" for row in beside for v in row[["change", "low", "high"]]),
        *(str(n) for n in (worse.sum(), len(worse), int(at_size["n"]))),
        *(f"{v:.2f}" for v in recall.to_numpy().flat),
        *(f"{abs(v):.2f}" for v in (painted.min(), painted.max())),
        *(f"{v:.0f}" for rows in (share, 100 * closed) for v in (rows.min(), rows.max())),
        *(f"{v:.3f}" for v in large["recall_face"][["fagan", "fagan-relativistic"]]),
        str(len(large)),
        *(f"{v:,.0f}" for v in longer["fd_lite0"]),
        str(sum(map(len, trainings))),
        *(
            f"{v:,.0f}"
            for rows in (one, ~one)
            for v in kernels[rows]["fd_lite0"].agg(["min", "max"])
        ),
        *(f"{abs(v):.2f}" for rows in far for v in (rows.min(), rows.max())),
        *(str(rows.count()) for rows in far),
        *map(str, sizes),
        str(len(in_d)),
        str(faces["arm"].nunique()),
        *(f"{n:,}" for n in faces["steps"].astype(int).unique()),
    }


# numbers of README that are no results: what they are stands beside them
OTHERS = {
    "2018": "the blog",
    "8×8": "a map",
    "32 pixels": "a size",
    "at 64": "another",
    "28 pixels": "a distance",
    "sees 22 pixels": "a receptive field, asserted in findings.ipynb",
    "see 36 or 50 pixels": "two more, asserted there too",
    "1×1": "a kernel",
    "6×6": "a kernel",
    "95 %": "a level",
    "20 % larger": "a ratio of parameters, asserted above",
    "real: 1": "a definition",
    "Seeds: 3, 5, 2": "three plans",
    "Python 3.11": "a version",
    "6 GB": "a disk",
    "CIFAR-10": "a name",
    "FD-Lite0": "a name",
}


def test_no_number_of_readme_is_without_its_record(records):
    code, links, tags = (
        r"```.*?```|`[^`]*`",
        r"\]\([^)]*\)",
        r"<source[^>]*>|(?:src|width)=\"[^\"]*\"",
    )
    text = re.sub("|".join((code, links, tags)), " ", README, flags=re.S)
    for known in OTHERS:
        assert known in README, f"{known} is no longer in README"
        text = text.replace(known, " ")
    found = re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w])", text)
    wanted = claims(records)
    assert len(found) > 40
    assert [n for n in found if n.rstrip(",") not in wanted] == []


def test_what_readme_says_in_words(records):
    """What photographs tell apart; on drawn faces the wide networks beat the others."""
    faces, photos = (final_scores(records[name]) for name in ("overnight", "cifar10-cpu"))
    main = ["dcgan", "sagan", "fagan", "fagan-relativistic", "fagan-pure"]
    sizes = faces.groupby("arm")["parameters"].first()
    assert sizes[main].max() < 1.37e6 and sizes.idxmax() == "fagan-pure-k6"
    for wide in ("dcgan-wide", "sagan-wide"):
        table = compare(faces, "fd_lite0", wide).set_index("arm")
        assert (table.loc[main, "low"] > 0).all()
    celeba = final_scores(records["celeba32"])
    apart = {
        (arm, base)
        for scores in (photos, celeba)
        for base in scores["arm"].unique()
        for arm, row in compare(scores, "fd_lite0", base, least=2).set_index("arm").iterrows()
        if row["low"] > 0 or row["high"] < 0
    }
    assert {pair for pair in apart if "fagan-relativistic" not in pair} == {
        ("fagan-pure", "fagan"),
        ("fagan", "fagan-pure"),
    }
    assert photos.groupby("arm").size().eq(2).all()
    own = pd.concat(
        compare(one, "fd_lite0", base)
        for one in (faces, celeba)
        for base in ["dcgan-wide", "sagan-wide"]
    )
    own = own[own["arm"] == "fagan"]
    assert len(own) == 4 and (own["own_low"] < 0).all() and (own["own_high"] > 0).all()
    assert celeba.groupby("arm").size().eq(5).all() and celeba["arm"].nunique() == 7
    detectable = compare(faces, "fd_lite0", "sagan")["detectable"]
    assert np.isclose(detectable.median(), 33, atol=3)
    curves = records["overnight"].history.dropna(subset=["fd_lite0"])
    late = curves[curves["step"] >= 0.8 * curves["step"].max()].groupby("run_id")["fd_lite0"]
    assert (late.last() < late.first()).mean() > 0.8
    assert pd.Series(faces.groupby("arm").size()).eq(3).all()


def test_the_table_of_published_records_is_theirs():
    """Runs, hours, machine and commits of every folder."""
    text = (ROOT / "results" / "published" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[([\w-]+)\].*?\| (\d+) \| ([\d.]+) \| (\w+) \| (.+) \|$", text, re.M)
    folders = {path.parent.name for path in (ROOT / "results" / "published").glob("*/plan.json")}
    assert {name for name, *_ in rows} == folders
    for name, n, hours, machine, commits in rows:
        runs = load_runs(f"published/{name}", ROOT / "results")
        assert len(runs.finished) == int(n)
        assert minutes(runs)["minutes"].sum() / 60 == pytest.approx(float(hours), rel=0.02)
        assert runs.runs["processor"].str.contains(machine).all()
        made = makers(f"published/{name}", ROOT / "results")["commit"].str[:12]
        assert {*made} == {*commits.split(", ")}


def test_what_the_face_sees_is_what_its_page_found():
    text = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| ([a-z].*?)(?:: ([\d., ]+))? \| ([\d., ]+) \| ([\d., ]+) \|$", text, re.M
    )
    table = ROOT / "results" / "published" / "celeba32" / "tables" / "degradations.csv"
    worse = pd.read_csv(table).query("kind != 'upside down'")
    said = {(levels, faces, whole) for _, levels, faces, whole in rows}
    found = set()
    for kind, own in worse.groupby("kind"):
        levels = "" if kind == "none" else ", ".join(f"{v:g}" for v in own["level"])
        columns = (own["fd_face"], "{:.3f}"), (own["fd_lite0"], "{:,.0f}")
        found.add((levels, *(", ".join(map(form.format, values)) for values, form in columns)))
    assert len(rows) == len(found) == 7 and said == found


def test_readme_is_short():
    words = re.sub(r"```.*?```", " ", README, flags=re.S).split()
    assert len(README.splitlines()) <= 150 and len(words) <= 900


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)|(?:src|srcset)=\"([^\"]+)\"", text):
        target = target[0] or target[1]
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
