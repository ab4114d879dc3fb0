"""Films: every grid is a frame, a label names its step, and none is larger than it may be."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from records_factory import make_ablation

from fagan import plots, readings, tables
from fagan.errors import UserError
from fagan.plots import films
from fagan.records import load_runs, read_grid


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    results = tmp_path_factory.mktemp("films")
    make_ablation(results, seeds=1, grids=5, diverged=(), unfinished=(), not_begun=())
    return load_runs("tiny", results)


@pytest.fixture
def frames(runs):
    return plots.training_frames(runs, "fagan-seed0")


def opened(data):
    return Image.open(io.BytesIO(data))


def test_a_frame_per_grid_with_its_step(runs, frames):
    assert [frame.label for frame in frames] == [f"step {step}" for step in (0, 100, 200, 300, 400)]
    assert [frame.done for frame in frames] == [0, 0.25, 0.5, 0.75, 1]
    last = read_grid(runs.samples("fagan-seed0")[-1])
    assert (frames[-1].images == last[:16]).all()
    assert plots.training_frames(runs, "nothing-seed0") == []


def test_a_film_plays_its_frames_again_and_again_and_stays_at_the_end(frames):
    picture = opened(plots.film(frames, 400))
    assert picture.n_frames == 5 and picture.info["loop"] == 0
    assert picture.size == (8 * 32 * 2, 2 * 32 * 2 + films.STRIP)
    durations = []
    for i in range(5):
        picture.seek(i)
        picture.load()
        durations.append(picture.info["duration"])
    assert durations == [400] * 4 + [1200]


def test_frames_show_their_images_and_a_line_as_long_as_they_are_far(frames):
    shown = np.asarray(films._picture(frames[1], 8)).astype(int)
    assert (shown[:64, 64:128] == np.kron(frames[1].images[1], np.ones((2, 2, 1)))).all()
    line = shown[128]
    assert (line[:128].max(-1) < 64).all() and (line[130:].min(-1) > 200).all()
    assert (shown[132:, :100] < 128).any()  # the label


@pytest.mark.parametrize("limit", [90_000, 50_000, 30_000])
def test_a_film_keeps_its_limit_and_its_ends(frames, limit):
    data = plots.film(frames, 400, limit)
    assert len(data) <= limit
    picture, whole = opened(data), opened(plots.film(frames, 400))
    for place in (0, -1):
        seen = []
        for film in (picture, whole):
            film.seek(place % film.n_frames)
            seen.append(np.asarray(film.convert("RGB"))[:128].astype(float))
        assert np.abs(seen[0] - seen[1]).mean() < 25


def test_a_film_that_cannot_be_small_enough_is_refused(frames):
    with pytest.raises(UserError, match=r"two frames of .* are more than a film's 100"):
        plots.film(frames, 400, 100)


def test_many_films_share_a_page():
    assert plots.film_limit(1) == films.FILM_LIMIT
    assert 36 * plots.film_limit(36) <= films.PAGE_BUDGET
    assert films.thinned(5, 24) == [0, 1, 2, 3, 4]
    assert films.thinned(100, 4) == [0, 33, 66, 99]


def test_changes_between_grids_are_measured_over_the_same_latents(runs):
    changes = tables.grid_changes(runs, 0)
    own = changes[changes["arm"] == "fagan"]
    assert own["step"].tolist() == [100, 200, 300, 400]
    before, after = (read_grid(path).astype(float) for path in runs.samples("fagan-seed0")[-2:])
    assert own["change"].iloc[-1] == pytest.approx(np.abs(after - before).mean(), rel=1e-5)
    read = readings.read_films(changes, runs, 0)
    last = changes.groupby("label")["change"].last()
    assert read.claim.startswith(f"{last.idxmax()}'s images still moved by")
    assert f"{last.idxmin()}'s by" in read.claim


def test_published_records_have_no_film_and_the_reading_says_so(runs):
    changes = tables.grid_changes(runs, 0)
    fewer = readings.read_films(changes[changes["arm"] != "sagan"], runs, 0)
    assert "No film of SAGAN: fewer than two sample grids were kept" in fewer.text
    none = readings.read_films(changes[:0], runs, 0)
    assert none.claim == "Only the last samples were kept" and "FAGAN" in none.text


def test_a_jump_is_read_as_one(runs):
    rows = [
        {"run_id": f"{arm}-seed0", "arm": arm, "frame": i, "change": change}
        for arm, changes in (("sagan", [2, 2, 2, 2]), ("fagan", [0, 0, 0, 12]))
        for i, change in enumerate(changes)
    ]
    read = readings.read_interpolations(pd.DataFrame(rows), runs, 0)
    assert read.claim == "FAGAN changes most between two latents, by 3.00 grey levels a frame"
    assert "SAGAN 1.00; FAGAN 4.00" in read.text and "DCGAN" in read.text.split("weights")[-1]
    nothing = readings.read_interpolations(pd.DataFrame(rows)[:0], runs, 0)
    assert "without weights" in nothing.claim and "SAGAN" in nothing.text
