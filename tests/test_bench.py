"""The bench: both sides do the same work, and what it reports is what it measured."""

import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from fagan import ablations, bench, plots, readme
from fagan.bench import goals, record, released, steps
from fagan.cli import app
from fagan.config import RunConfig
from fagan.errors import UserError
from fagan.models import build, parameters

CPU = torch.device("cpu")
HERE = bench.Machine("cpu", "Some (R) Processor(TM) 9 @ 2.0GHz", 1, 100.0, 200.0)


@pytest.mark.parametrize("architecture", ["fagan", "sagan", "fagan-pure", "dcgan"])
@pytest.mark.parametrize("resolution", [32, 64])
def test_both_sides_have_the_same_networks(architecture, resolution):
    config = RunConfig(architecture=architecture, resolution=resolution, width=0.25)
    for ours, theirs in zip(build(config), released.networks(config), strict=True):
        # the package counts its spectral norm's u and v as parameters and builds batch norms
        # that it does not use
        vectors = sum(p.numel() for n, p in theirs.named_parameters() if n[-2:] in ("_u", "_v"))
        used = {p.data_ptr() for p in theirs.parameters() if p.requires_grad}
        x = torch.randn(4, 128, 1, 1) if theirs is not None else None
        if isinstance(ours, type(build(config)[1])):
            x = torch.randn(4, 3, resolution, resolution)
        theirs(x).sum().backward()
        trained = [p for p in theirs.parameters() if p.grad is not None]
        assert vectors > 0 and len(used) >= len(trained)
        assert sum(p.numel() for p in trained) == parameters(ours)


def test_the_released_step_is_its_own_training_loops(monkeypatch):
    config = RunConfig(architecture="sagan", resolution=32, width=0.125, batch_size=4)
    side = released.Released(config, CPU)
    calls = []
    for name in ("optimize_discriminator", "optimize_generator"):
        function = getattr(side.gan, name)
        monkeypatch.setattr(side.gan, name, lambda *a, f=function, n=name: calls.append((n, f(*a))))
    before = [p.detach().clone() for p in side.gan.generator.parameters()]
    side.step(torch.rand(4, 3, 32, 32))
    assert [name for name, _ in calls] == ["optimize_discriminator", "optimize_generator"]
    assert all(isinstance(loss, float) for _, loss in calls)
    after = list(side.gan.generator.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert side.gan.generator.training and side.gan.discriminator.training


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "attn_gan_pytorch", None)
    with pytest.raises(UserError, match=r"pip install attn-gan-pytorch==1\.2\.3"):
        released.networks(RunConfig())


def test_a_case_is_measured_on_every_side():
    case = steps.Case("fagan", 32, "relativistic-hinge", batch_size=4, width=0.125)
    rows = {row["implementation"]: row for row in steps.measure(case, HERE, 3, 0.0, say=print)}
    assert list(rows) == ["released", "plain", "fp32", "bf16"]
    for name, row in rows.items():
        assert 0 < row["ms_low"] <= row["ms"] <= row["ms_high"] and row["rounds"] == 3
        assert row["images_per_second"] == pytest.approx(4e3 / row["ms"])
        peak = 200 if name == "bf16" else 100
        assert row["share_of_peak"] == pytest.approx(row["gflop"] / row["ms"] * 1e3 / peak)
        assert row["speedup"] > 0
    assert rows["released"]["speedup"] == 1 and rows["released"]["memory_share"] in (1, None)


def test_what_does_not_fit_into_memory_is_left_out_and_said(monkeypatch):
    said = []
    case = steps.Case("fagan", 32, "hinge", batch_size=4, width=0.125)
    monkeypatch.setattr(steps, "free_memory", lambda device: 1_000_000)
    rows = steps.measure(case, HERE, 2, 0.0, say=said.append)
    assert [row["implementation"] for row in rows] == ["fp32", "bf16"]
    assert all("speedup" not in row for row in rows)
    assert len(said) == 2 and "left out" in said[0]


def test_maps_are_counted_where_attention_is():
    # fagan at 32 pixels: G at 4, 8 and 16; D at 16, 8 (twice: F+A), 4
    sizes = [4, 8, 16, 16, 8, 8, 4]
    wanted = sum(4 * 32 * size**4 for size in sizes)
    assert steps._map_bytes(steps.Case("fagan", 32, "hinge")) == wanted


@pytest.mark.parametrize(("loss", "known"), [("hinge", 185), ("relativistic-hinge", 200)])
def test_useful_arithmetic_is_the_known_number(loss, known):
    config = steps.Case("fagan", 64, loss).config(1)
    assert steps.arithmetic(config) == pytest.approx(known, rel=0.03)
    assert steps.arithmetic(replace(config, batch_size=64)) == pytest.approx(2 * known, rel=0.03)


def test_a_projection_is_arithmetic_over_the_measured_speed():
    measured = table(implementation="bf16", gflop_per_second=250.0)
    found = bench.projection(measured, ("smoke",)).set_index("ablation").loc["smoke"]
    runs = ablations.configs(ablations.load_table("smoke"))
    gflop = sum(steps.arithmetic(run) * run.steps for run in runs)
    assert found["runs"] == len(runs) and found["pflop"] == pytest.approx(gflop / 1e6)
    assert found["hours"] == pytest.approx(gflop / 250 / 3600)
    assert found["hours_sustained"] == pytest.approx(gflop / 10_000 / 3600)


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is Linux's")
def test_peak_memory_sees_what_was_freed_again():
    # a process of its own: what other tests have left to be freed would be counted too
    code = """
import torch
from fagan.bench.machine import PeakMemory
memory = PeakMemory(torch.device("cpu"))
def work():
    torch.ones(60_000_000, dtype=torch.uint8)
print(memory.of(work), memory.of(lambda: None))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    during, after = map(float, done.stdout.split())
    assert during == pytest.approx(60, abs=8)
    assert after < 8  # of that work alone, not of all before


def table(**changes):
    """A step table of one case of the targets."""
    row = {
        "architecture": "fagan", "resolution": 64, "batch_size": 32, "loss": "hinge",
        "implementation": "fp32", "ms": 500.0, "ms_low": 490.0, "ms_high": 520.0, "rounds": 5,
        "images_per_second": 64.0, "gflop": 185.0, "gflop_per_second": 370.0,
        "share_of_peak": 0.5, "peak_memory_mb": 700.0, "speedup": 2.5, "memory_share": 0.4,
    }  # fmt: skip
    slow = row | {"implementation": "released", "ms": 1250.0, "ms_low": 1200.0, "ms_high": 1300.0}
    return pd.DataFrame([slow | {"speedup": 1.0, "memory_share": 1.0}, row | changes])


PARTS = pd.DataFrame(
    [
        {"part": goals.START_UP, "value": 6.5, "low": 6.4, "high": 6.9, "unit": "s", "n": 3},
        {"part": "Fréchet distance, 320 features", "value": 0.03, "low": 0.03, "high": 0.04,
         "unit": "s", "n": 3},
    ]
)  # fmt: skip


def test_targets_are_met_missed_or_not_measured():
    found = {t.name: t for t in bench.targets("cpu", table(), PARTS)}
    hinge = found["fagan, 64 pixels, hinge, fp32: steps against the released package"]
    assert (hinge.limit, hinge.measured, hinge.met) == (2.2, 2.5, True)
    assert found[goals.START_UP].met is False
    assert found["Fréchet distance, 320 features"].met is True
    assert found["Fréchet distance, 2048 features"].met is None
    memory = "fagan, 64 pixels, hinge: peak memory against the released package"
    assert found[memory].met is True
    worse = {t.name: t for t in bench.targets("cpu", table(speedup=2.1, memory_share=0.6), PARTS)}
    assert worse[hinge.name].met is False and worse[memory].met is False


def test_the_blogs_training_is_projected_from_the_rate():
    steps_on_gpu = table(
        implementation="bf16", loss="relativistic-hinge", images_per_second=12 * 202_599 / 60
    )
    minutes = bench.targets("cuda", steps_on_gpu, PARTS)[-1]
    assert minutes.measured == pytest.approx(1.0) and minutes.met


def test_what_is_written_is_read_and_shown(tmp_path, monkeypatch):
    folder = tmp_path / "published" / "bench"
    projected = bench.projection(table(implementation="bf16"), ("smoke",))
    path = bench.write(folder, HERE, table(), PARTS, projected)
    assert path.name == "cpu-some-processor-9-2-0ghz-1.csv"
    names = {p.name.removeprefix(path.stem) for p in folder.iterdir()}
    assert names == {".csv", "-parts.csv", "-projection.csv", ".json", ".svg"}
    assert "| smoke | 2 | " in readme.published_page(tmp_path)
    about, read_steps, parts = bench.read(folder, path.stem)
    pd.testing.assert_frame_equal(read_steps, table(), check_dtype=False)
    pd.testing.assert_frame_equal(parts, PARTS)
    assert about["machine"]["threads"] == 1
    text = readme.bench_block("cpu", tmp_path)
    assert "| fagan | 64 | hinge | 1,250 | – | 500 | – | 2.5× | 50% |" in text
    missed = goals.START_UP
    assert f"missed: {missed}" in text and f"results/published/bench/{path.stem}.svg" in text
    assert "No bench of a cuda is published yet" in readme.bench_block("cuda", tmp_path)


def test_the_figure_has_a_mark_for_every_time():
    figure = plots.step_times(pd.concat([table(), table(resolution=32)[1:]]))
    assert [ax.get_title() for ax in figure.axes] == ["64 × 64 pixels", "32 × 32 pixels"]
    large = figure.axes[0]
    marks = sorted(
        float(line.get_xdata()[0]) for line in large.get_lines() if line.get_marker() in "so"
    )
    assert marks == [500.0, 1250.0] and large.get_xscale() == "log"


def test_a_device_that_is_not_there_ends_with_one_line():
    done = CliRunner().invoke(app, ["bench", "--device", "cuda"])
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert isinstance(done.exception, UserError) and "no CUDA device" in str(done.exception)


def test_tables_show_a_dash_where_nothing_was_measured():
    shown = bench.steps_table(table()).iloc[0]
    assert shown["plain, ms"] == "–" and shown["released, ms"] == "1,250"
    reached = [t.describe() for t in bench.targets("cpu", table(), PARTS)]
    assert set(record.targets_table(reached)[""]) == {"met", "not met", "not measured"}
