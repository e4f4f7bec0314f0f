"""The report as text: medians, with the range over the rounds in brackets."""

from collections.abc import Iterator

from selsa_server.bench.operators import EngineProfile
from selsa_server.bench.profile import PipelineProfile
from selsa_server.bench.report import BenchReport, WayReport
from selsa_server.bench.spread import Spread

WIDTH = 36
# Operators that take less of an engine are not named.
LEAST_SHARE = 0.01


def text_of(report: BenchReport) -> str:
    """For a terminal."""
    lines = [*report.machine.lines(), f"{report.video}; medians (range) of {report.rounds} rounds", ""]
    for way in report.ways:
        lines += [*_way(way), ""]
    if len(report.ways) > 1:
        lines += [*_comparison(report), ""]
    for refusal in report.refused:
        asked = ", ".join(f"{name} {value}" for name, value in refusal.asked.items())
        lines.append(f"not measured: {asked}: {refusal.reason}")
    return "\n".join(lines).rstrip() + "\n"


def _way(way: WayReport) -> Iterator[str]:
    width, height = way.padded_size
    yield f"{way.name}: engine input {width}x{height}, {way.reference_frames} reference frames"
    named = {
        "frame_engine": "frame engine, one frame",
        "frame_engine_batched": f"frame engine, batch of {way.batch}",
        "sequence_engine": "sequence engine, one key frame",
        "sequence_engine_batched": f"sequence engine, batch of {way.batch}",
        "pipeline": "pipeline, file to detections",
    }
    for part, name in named.items():
        if part in way.seconds:
            yield _milliseconds(name, way.seconds[part])
    for count, spread in sorted(way.clients.items()):
        name, rate = f"server, {count} at the same time", 1 / spread.median
        yield f"{_milliseconds(name, spread)}, {rate:.1f} frames a second"
    if way.pipeline_to_frame_engine is not None:
        yield _ratio("pipeline / frame engine", way.pipeline_to_frame_engine)
    for clients, spread in way.server_to_pipeline.items():
        yield _ratio(f"server, {clients} at the same time / pipeline", spread)
    if way.parts is not None:
        yield from _parts(way.parts)
    for engine in way.operators:
        yield from _operators(engine)


def _parts(profile: PipelineProfile) -> Iterator[str]:
    total = sum(spread.median for spread in profile.parts.values())
    yield f"where a frame's time goes, each part alone ({profile.detections:.0f} detections a frame):"
    for part, spread in profile.parts.items():
        yield f"{_milliseconds('  ' + part, spread)}, {spread.median / total:.1%}"
    yield f"{'  all parts':{WIDTH}} {total * 1e3:9.2f}"
    yield _milliseconds("  the pipeline, which overlaps them", profile.overlapped)


def _operators(engine: EngineProfile) -> Iterator[str]:
    yield f"where the {engine.engine} engine's time goes, one frame, ONNX Runtime's profiler on:"
    for kind, seconds in engine.kinds.items():
        yield f"{'  ' + kind:{WIDTH}} {seconds * 1e3:9.2f} ms, {seconds / engine.run:.1%}"
    largest = [each for each in engine.operators if each.seconds >= LEAST_SHARE * engine.run]
    named = ", ".join(f"{each.operator} {each.seconds * 1e3:.2f}" for each in largest)
    yield f"    by operator: {named}"


def _comparison(report: BenchReport) -> Iterator[str]:
    yield f"as fast as {report.ways[0].name}, within the rounds:"
    for way in report.ways:
        yield _ratio("  " + way.name, way.times_as_fast)


def _milliseconds(name: str, spread: Spread) -> str:
    low, high = spread.lowest * 1e3, spread.highest * 1e3
    return f"{name:{WIDTH}} {spread.median * 1e3:9.2f} ({low:.2f} to {high:.2f}) ms a frame"


def _ratio(name: str, spread: Spread) -> str:
    return f"{name:{WIDTH}} {spread.median:9.2f} ({spread.lowest:.2f} to {spread.highest:.2f})"
