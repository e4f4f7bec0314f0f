"""The figures of a GPU check as Markdown. Uses the standard library only: nothing may be installed yet."""

from collections.abc import Iterator
from typing import Any

__all__ = ["tables"]

Report = dict[str, Any]


def tables(report: Report) -> Iterator[str]:
    """All tables that the steps so far have figures for."""
    results = {step["name"]: step["result"] for step in report["steps"] if step["result"]}
    ceilings = results.get("ceilings")
    yield "# GPU check"
    yield ""
    yield f"`python benchmarks/gpu_check.py {' '.join(report['command'])}`, started {report['started']}."
    if ceilings:
        yield from _machine(ceilings)
    yield from _steps(report["steps"])
    yield from _gates(results)
    yield from _engines(report["provider"], results, ceilings)
    yield from _torch(results)
    yield from _served(results)


def _machine(ceilings: Report) -> Iterator[str]:
    found = ceilings["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    rates = ", ".join(f"{kind} {rate / 1e12:.3g} TFLOP/s" for kind, rate in ceilings["operations"].items())
    yield ""
    yield f"{', '.join([*found['accelerators'], found['processor']])}, {found['cores']} cores. {versions}."
    yield f"A large matrix product through torch: {rates}; a copy: {ceilings['bytes'] / 1e9:.0f} GB/s."


def _steps(steps: list[Report]) -> Iterator[str]:
    yield from _head("step", "outcome", "seconds", "GPU memory, MiB", "host memory, MiB")
    for step in steps:
        memory = (f"{step[name]:.0f}" if step[name] else "" for name in ("gpu_memory_mib", "host_memory_mib"))
        yield _row(step["name"], step["status"], f"{step['seconds']:.0f}", *memory)


def _gates(results: Report) -> Iterator[str]:
    rows = [
        (name, row) for name, found in results.items() if name.startswith("gates ") for row in found["rows"]
    ]
    if not rows:
        return
    yield from _head("gate", "graph", "TF32", "boxes, px", "features", "scores", "detections off", "passes")
    for name, row in rows:
        model = name.removeprefix("gates ")
        if "error" in row:
            yield _row(model, row["graph"], row["tf32"], row["error"][:120], "", "", "", "no")
            continue
        found = row["differences"]
        features = max(found["features"].values(), default=0.0)
        missing = f"{found['detections_unmatched']} of {found['detections']}"
        numbers = (f"{value:.2g}" for value in (found["boxes_corner"], features, found["scores"]))
        passes = "no: " + row["failures"][0] if row["failures"] else "yes"
        yield _row(model, row["graph"], row["tf32"], *numbers, missing, passes)


def _engines(provider: str, results: Report, ceilings: Report | None) -> Iterator[str]:
    rows = []
    for name, found in results.items():
        if name.startswith("bench "):
            model = name.split()[1]
            work = (results.get(f"torch {model}") or {}).get("operations")
            rows += [(model, way, work) for way in found["ways"]]
    if not rows:
        return
    columns = ("precision", "batch", "frame engine, frames/s", "of the ceiling", "sequence engine, frames/s")
    yield from _head(f"engines on {provider}", *columns, "pipeline, frames/s")
    for model, way, work in sorted(rows, key=lambda row: (row[0], row[1]["precision"], row[1]["batch"])):
        rate = {part: 1 / spread["median"] for part, spread in way["seconds"].items()}
        fastest = max(rate["frame_engine"], rate["frame_engine_batched"])
        ceiling = (ceilings or {"operations": {}})["operations"].get(way["precision"])
        share = f"{work * fastest / ceiling:.1%}" if work and ceiling else ""
        sequence = f"{rate['sequence_engine_batched']:.0f}"
        yield _row(
            model,
            way["precision"],
            str(way["batch"]),
            f"{fastest:.0f}",
            share,
            sequence,
            f"{rate['pipeline']:.0f}",
        )


def _torch(results: Report) -> Iterator[str]:
    rows = [
        (name.removeprefix("torch "), way, seconds)
        for name, found in results.items()
        if name.startswith("torch ")
        for way, seconds in found["seconds"].items()
    ]
    if not rows:
        return
    yield from _head("plain PyTorch", "way", "key frames/s")
    for model, way, seconds in rows:
        yield _row(
            model, way, f"{1 / seconds['median']:.1f}" if "median" in seconds else seconds["error"][:120]
        )


def _served(results: Report) -> Iterator[str]:
    ways = [
        (name.removeprefix("server "), way)
        for name, found in results.items()
        if name.startswith("server ")
        for way in found["ways"]
    ]
    if not ways:
        return
    yield from _head("server, 1080p files", "precision", "batch", "clients", "frames/s")
    for model, way in ways:
        for part, spread in way["seconds"].items():
            clients = part.removeprefix("server_")
            yield _row(model, way["precision"], str(way["batch"]), clients, f"{1 / spread['median']:.0f}")


def _head(*names: str) -> Iterator[str]:
    yield ""
    yield _row(*names)
    yield "|" + "---|" * len(names)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
