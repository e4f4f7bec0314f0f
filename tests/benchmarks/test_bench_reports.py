"""A report of `selsa bench` can be drawn, and extended by where the time of a frame goes."""

import json
from pathlib import Path

import orjson
import pytest

from benchmarks.report.markdown_tables import TABLES
from benchmarks.report.plot_bench import plot_report
from benchmarks.speed.operators import kind_of
from benchmarks.speed.profile_bench import PARTS, profiled
from selsa_bundle.default_bundle import synthetic_bundle
from selsa_server.bench.run import BenchOptions, run_bench
from selsa_server.bench.sample_video import write_sample_video
from selsa_server.bench.ways import all_ways


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict:
    video = tmp_path_factory.mktemp("bench") / "video.mp4"
    write_sample_video(video, 4, width=64, height=48)
    ways = all_ways([synthetic_bundle()], providers=["cpu"], precisions=["fp32"], threads=[1], batches=[2])
    found = run_bench(ways, video, BenchOptions(phases=("engines", "pipeline"), rounds=1))
    return json.loads(orjson.dumps(found))


def test_a_report_is_drawn_as_a_picture_and_nothing_else_is_written(report: dict, tmp_path: Path) -> None:
    plot_report(tmp_path / "bench.png", report)
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["bench.png"]


def test_a_profile_has_every_part_and_the_operators_fill_the_run(report: dict) -> None:
    (way,) = json.loads(orjson.dumps(profiled(report, synthetic_bundle())))["ways"]
    assert tuple(way["parts"]["parts"]) == PARTS
    assert all(spread["median"] >= 0 for spread in way["parts"]["parts"].values())
    assert [engine["engine"] for engine in way["operators"]] == ["frame", "sequence"]
    for engine in way["operators"]:
        assert 0 < sum(each["seconds"] for each in engine["operators"]) <= engine["run"]
    table = list(TABLES["operators"]({"ways": [way]}))
    assert any(row.startswith("| convolutions and matrix products |") for row in table)


def test_operators_are_sorted_into_kinds() -> None:
    assert kind_of("NonMaxSuppression") == "suppression"
    assert kind_of("Relu") == "element by element"
