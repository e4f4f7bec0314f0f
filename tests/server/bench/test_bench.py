"""`selsa bench` measures the ways that can run here in turn, and reports why the others cannot."""

import json
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import typer
from fake_engines import FakeEngines
from fakes import fake_bundle
from typer.testing import CliRunner

from selsa_bundle.errors import ChoiceError
from selsa_bundle.runtimes.choice import EngineOptions
from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.bench import subject
from selsa_server.bench.report import BenchReport
from selsa_server.bench.run import BenchOptions, run_bench
from selsa_server.bench.sample_video import write_sample_video
from selsa_server.bench.ways import BenchError, all_ways, numbers_in
from selsa_server.cli.bench import bench

FRAMES = 6
ENGINES = ("engines", "pipeline")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "video.mp4"
    write_sample_video(path, FRAMES, width=64, height=48)
    return path


def load_fake(folder: Path, options: EngineOptions) -> LoadedBundle:
    if options.precision == "int8":
        raise ChoiceError("this bundle has no int8 engines")
    return fake_bundle(FakeEngines(seconds_per_frame=0.004 if options.provider == "cpu" else 0.001))


def report_on(
    video: Path,
    options: BenchOptions,
    *,
    providers: tuple[str, ...] = ("cpu",),
    precisions: tuple[str, ...] = ("fp32",),
    batches: tuple[int, ...] = (2,),
    strides: tuple[int, ...] = (1,),
    say: Callable[[str], None] = lambda _: None,
) -> BenchReport:
    ways = all_ways(
        [Path("a")],
        providers=providers,
        precisions=precisions,
        threads=[0],
        batches=batches,
        strides=strides,
    )
    return run_bench(ways, video, options, load=load_fake, say=say)


def test_the_rounds_so_far_are_reported_after_each_round(video: Path) -> None:
    ways = all_ways([Path("a")], providers=["cpu"], precisions=["fp32"], threads=[0], batches=(1,))
    kept: list[BenchReport] = []
    run_bench(ways, video, BenchOptions(phases=ENGINES, rounds=2), load=load_fake, keep=kept.append)
    assert [report.rounds for report in kept] == [1, 2]


def test_every_way_is_measured_once_in_every_round(video: Path) -> None:
    said: list[str] = []
    options = BenchOptions(phases=ENGINES, rounds=2)
    report = report_on(video, options, batches=(1, 3), say=said.append)
    turns = [line.partition(":")[0] for line in said if "fake" in line]
    assert turns == ["warming up"] * 2 + ["round 1 of 2"] * 2 + ["round 2 of 2"] * 2
    assert [way.batch for way in report.ways] == [1, 3]
    for way in report.ways:
        assert all(len(spread.rounds) == 2 for spread in way.seconds.values())
        assert all(s.lowest <= s.median <= s.highest for s in way.seconds.values())


def test_ratios_are_taken_within_a_round(video: Path) -> None:
    report = report_on(video, BenchOptions(phases=ENGINES, rounds=2), providers=("cpu", "openvino"))
    slow, fast = report.ways
    assert slow.times_as_fast.rounds == (1.0, 1.0)
    pairs = zip(slow.seconds["pipeline"].rounds, fast.seconds["pipeline"].rounds, strict=True)
    assert fast.times_as_fast.rounds == tuple(a / b for a, b in pairs)
    assert slow.seconds["frame_engine"].median >= 0.004


def test_a_stride_is_measured_on_all_answered_frames(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def a_second_a_frame(work: Callable[[], object]) -> float:
        work()
        return float(FRAMES)

    monkeypatch.setattr(subject, "seconds_of", a_second_a_frame)
    report = report_on(video, BenchOptions(phases=("pipeline",), rounds=1), strides=(1, 5))
    # 2 of 6 frames are detected on, and all are answered.
    assert [(way.stride, way.seconds["pipeline"].median) for way in report.ways] == [(1, 1.0), (5, 1.0)]
    assert "stride 5" in report.text()


def test_a_way_that_cannot_run_is_reported_and_the_others_are_measured(video: Path) -> None:
    report = report_on(video, BenchOptions(phases=("engines",), rounds=1), precisions=("fp32", "int8"))
    assert len(report.ways) == 1
    assert report.refused[0].asked["precision"] == "int8"
    line = report.text().splitlines()[-1]
    assert line.startswith("not measured: bundle a, provider cpu, precision int8")
    assert line.endswith("this bundle has no int8 engines")


def test_it_is_an_error_if_no_way_can_run(video: Path) -> None:
    with pytest.raises(BenchError, match="no int8 engines"):
        report_on(video, BenchOptions(phases=("engines",), rounds=1), precisions=("int8",))


def test_the_figures_are_json(video: Path) -> None:
    report = report_on(video, BenchOptions(phases=ENGINES, rounds=1), providers=("cpu", "openvino"))
    written = json.loads(orjson.dumps(report))
    assert written["ways"][0]["seconds"]["pipeline"]["median"] > 0
    assert written["machine"]["cores"] >= 1


@pytest.mark.parametrize("text", ["", "0", "a", "1,x", "4,257", "-1", "1.5", "9" * 30, "²"])
def test_a_list_of_numbers_says_what_is_allowed(text: str) -> None:
    with pytest.raises(BenchError, match=r"--batch is .*; allowed are whole numbers from 1 to 256"):
        numbers_in("--batch", text, least=1, most=256)


def test_a_list_of_numbers_has_each_once() -> None:
    assert numbers_in("--batch", "4, 1,4", least=1, most=256) == [4, 1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--phases", "engine"], "--phases is 'engine'; allowed are engines, pipeline, server"),
        (["--clients", "33"], "--clients is '33'; allowed are whole numbers from 1 to 32"),
        (["--threads", "many"], "--threads is 'many'"),
        (["--json", "/no/such/folder/bench.json"], "there is no folder /no/such/folder"),
    ],
)
def test_a_bad_option_is_refused_before_anything_is_measured(arguments: list[str], said: str) -> None:
    app = typer.Typer()
    app.command()(bench)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 3, done.output
    assert said in done.stderr
    assert "warming up" not in done.stderr
