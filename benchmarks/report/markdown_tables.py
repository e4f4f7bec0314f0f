"""Figures as Markdown: medians over the rounds, the range behind them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any, Final

from selsa_server.bench.report import Spread

Report = dict[str, Any]
ENGINES: Final = {
    "frame_engine": "frame engine, one frame",
    "frame_engine_batched": "frame engine, in batches",
    "sequence_engine": "sequence engine, one key frame",
    "sequence_engine_batched": "sequence engine, in batches",
    "pipeline": "pipeline, file to detections",
}


def machine(report: Report) -> Iterator[str]:
    """What it was measured on, and with."""
    found = report["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    hardware = [
        f"{found['processor']} ({', '.join(found['instructions'])})",
        *found.get("accelerators", ()),
        f"{found['cores']} cores",
        f"{found['memory'] / 2**30:.0f} GiB",
    ]
    when = f"{found['date'][:10]}; {found['busy']:g} processes wanted to run when it began"
    yield f"{', '.join(hardware)}; {when}. Python {found['python']}, {packages}."


def parts(report: Report) -> Iterator[str]:
    """Milliseconds a frame of each part, a column for each way."""
    ways = report["ways"]
    yield from _head("milliseconds a frame", map(_way, ways))
    for part, name in ENGINES.items():
        if part in ways[0]["seconds"]:
            yield _row(name, (_milliseconds(way["seconds"][part]) for way in ways))
    if {"pipeline", "frame_engine"} <= set(ways[0]["seconds"]):
        ratios = (_ratio(_within_rounds(way, "pipeline", "frame_engine")) for way in ways)
        yield _row("**pipeline / frame engine**", ratios)
    if len(ways) > 1:
        yield _row(f"as fast as {_way(ways[0])}", (_ratio(way["times_as_fast"]) for way in ways))


def models(report: Report) -> Iterator[str]:
    """The same the other way round: a row for each way."""
    names = {part: name for part, name in ENGINES.items() if not part.endswith("_batched")}
    yield from _head("milliseconds a frame", [*names.values(), "pipeline / frame engine"])
    for way in report["ways"]:
        cells = [_milliseconds(way["seconds"][part]) for part in names]
        yield _row(_way(way), [*cells, _ratio(_within_rounds(way, "pipeline", "frame_engine"))])


def clients(report: Report) -> Iterator[str]:
    """What the server gives, by how many clients it has at the same time; of the first way."""
    way = report["ways"][0]
    yield from _head("clients at the same time", ["milliseconds a frame", "frames a second", "/ pipeline"])
    for part, spread in way["seconds"].items():
        count = part.removeprefix("server_")
        if count == part:
            continue
        to_pipeline = _within_rounds(way, part, "pipeline")
        yield _row(count, [_milliseconds(spread), f"{1 / spread['median']:.1f}", _ratio(to_pipeline)])


def profile(report: Report) -> Iterator[str]:
    """Where a frame's time goes, each part alone; of the first way."""
    found = report["ways"][0]["parts"]
    total = sum(spread["median"] for spread in found["parts"].values())
    yield from _head("each part alone", ["milliseconds a frame", "share"])
    for name, spread in found["parts"].items():
        yield _row(name, [_milliseconds(spread), f"{spread['median'] / total:.1%}"])
    yield _row("all parts", [f"{1e3 * total:.4g}", ""])
    yield _row("the pipeline, which overlaps them", [_milliseconds(found["overlapped"]), ""])


def operators(report: Report) -> Iterator[str]:
    """Where the engines' time goes, by kind of operator, with the operators behind it; of the first way."""
    yield from _head("one frame", ["frame engine, ms", "share", "sequence engine, ms", "share", "operators"])
    engines = {each["engine"]: each for each in report["ways"][0]["operators"]}
    sums = {name: _kinds(engine) for name, engine in engines.items()}
    kinds = sorted({kind for each in sums.values() for kind in each}, key=lambda k: -sums["frame"].get(k, 0))
    for kind in kinds:
        cells = []
        for name in ("frame", "sequence"):
            seconds = sums[name].get(kind, 0.0)
            cells += [f"{1e3 * seconds:.2f}", f"{seconds / engines[name]['run']:.1%}"]
        yield _row(kind, [*cells, ", ".join(_of_kind(engines.values(), kind))])
    between = [engines[name]["run"] - sum(sums[name].values()) for name in ("frame", "sequence")]
    cells = [
        cell
        for name, seconds in zip(("frame", "sequence"), between, strict=True)
        for cell in (f"{1e3 * seconds:.2f}", f"{seconds / engines[name]['run']:.1%}")
    ]
    yield _row("between operators", [*cells, ""])


def beside(report: Report) -> Iterator[str]:
    """Everybody's seconds per key frame."""
    yield from _head("", ["seconds per key frame", "as fast as plain PyTorch"])
    for name, spread in report["seconds"].items():
        yield _row(name, [_seconds(spread), _ratio(report["times_as_fast_as_plain_pytorch"][name])])


def published(report: Report) -> Iterator[str]:
    """Where plain PyTorch's time goes."""
    yield from _head("plain PyTorch, one key frame", ["seconds"])
    for name, seconds in report["published_parts"].items():
        yield _row(name, [f"{seconds:.3f}"])


def schedules(report: Report) -> Iterator[str]:
    """What each schedule of the same work takes."""
    yield from _head(f"{report['model']}, milliseconds a frame", ["", "/ ideal", "as fast as one call"])
    yield _row("ideal", [_milliseconds(report["ideal"]), "", ""])
    for name, row in report["schedules"].items():
        cells = [_milliseconds(row["seconds"]), _ratio(row["to_ideal"]), _ratio(row["as_fast_as_one_call"])]
        yield _row(name, cells)


def memory(report: Report) -> Iterator[str]:
    """Peaks by length."""
    yield from _head("frames", ["`selsa detect --local`, MB", "`selsa serve`, MB"])
    for row in report["peaks"]:
        yield _row(f"{row['frames']:,}", [f"{row['local']:.1f}", f"{row['server']:.1f}"])


TABLES: Final[dict[str, Callable[[Report], Iterator[str]]]] = {
    "machine": machine,
    "parts": parts,
    "models": models,
    "clients": clients,
    "profile": profile,
    "operators": operators,
    "beside": beside,
    "published": published,
    "memory": memory,
    "schedules": schedules,
}


def _way(way: Report) -> str:
    provider = {"CPUExecutionProvider": "ONNX Runtime"}.get(way["provider"], way["provider"])
    threads = f", {way['threads']} threads" if way["threads"] else ""
    return f"{way['model']}, {provider} {way['precision']}{threads}, batch {way['batch']}"


def _kinds(engine: Report) -> dict[str, float]:
    sums: dict[str, float] = {}
    for each in engine["operators"]:
        sums[each["kind"]] = sums.get(each["kind"], 0.0) + each["seconds"]
    return sums


def _of_kind(engines: Iterable[Report], kind: str) -> list[str]:
    """The operators of a kind that take a hundredth of an engine or more."""
    names = [
        each["operator"]
        for engine in engines
        for each in engine["operators"]
        if each["kind"] == kind and each["seconds"] >= engine["run"] / 100
    ]
    return list(dict.fromkeys(names))


def _head(first: str, columns: Iterable[str]) -> Iterator[str]:
    names = [first, *columns]
    yield _row(names[0], names[1:])
    yield "|" + "---|" * len(names)


def _row(first: str, cells: Iterable[str]) -> str:
    return "| " + " | ".join([first, *cells]) + " |"


def _milliseconds(spread: Report) -> str:
    return _spread(spread, 1e3)


def _seconds(spread: Report) -> str:
    return _spread(spread, 1)


def _within_rounds(way: Report, over: str, under: str) -> Report:
    """Seconds of one part / seconds of another in each round: median and range."""
    pairs = zip(way["seconds"][over]["rounds"], way["seconds"][under]["rounds"], strict=True)
    return asdict(Spread.of([a / b for a, b in pairs]))


def _ratio(spread: Report) -> str:
    return f"{spread['median']:.2f} ({spread['lowest']:.2f} to {spread['highest']:.2f})"


def _spread(spread: Report, unit: float) -> str:
    median, low, high = (_digits(unit * spread[which]) for which in ("median", "lowest", "highest"))
    return f"{median} ({low} to {high})"


def _digits(value: float) -> str:
    """Three figures, whole where there are more before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
