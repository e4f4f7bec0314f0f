"""Precisions of a bundle: int8 graphs are made, every way to run it is measured, and the bundle says so."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import onnx

from selsa_bundle.choice import EngineOptions
from selsa_bundle.engine import Engines
from selsa_bundle.gate import read_gate, run_gate
from selsa_bundle.gate_check import GateDifference, compare_outputs
from selsa_bundle.host import Host
from selsa_bundle.load import FP32_ON_CPU, load_engines
from selsa_bundle.manifest import MANIFEST_NAME, EngineFile, Manifest, StoredFile
from selsa_bundle.precision_report import (
    PRECISIONS_NAME,
    Accuracy,
    DetectionAgreement,
    KeptLayers,
    MeasuredPrecision,
    PrecisionReport,
    ProviderKind,
)
from selsa_bundle.processor import processor_name
from selsa_bundle.runtime_onnx import OnnxEngines, RuntimeOptions
from selsa_bundle.tolerance import USUAL_TOLERANCES, Precision
from selsa_export.gate_frames import tolerance_around
from selsa_export.precision_measure import Judge, PrecisionData, ap50_of, seconds_in_turn, times_as_fast
from selsa_export.precision_plan import PrecisionPlan
from selsa_export.quantize_search import QuantizedModel, quantize_until

__all__ = ["add_precisions"]

INT8_NAME: Final = "frame.int8.onnx"
ROUNDS: Final = 7

Way = tuple[ProviderKind, Precision]
BASE: Final[Way] = ("cpu", "fp32")


def add_precisions(
    folder: Path, plan: PrecisionPlan, say: Callable[[str], None] = lambda _: None
) -> PrecisionReport:
    """Add what is wanted to a bundle with a gate that nobody uses yet; `folder` is changed step by step.

    Raises:
        BundleError: the bundle cannot be used.
        CalibrationError, PrecisionError: as the plan's parts say.
    """
    manifest = Manifest.read(folder)
    base = load_engines(folder, FP32_ON_CPU).engines
    clips = [[manifest.preprocess.prepare(frame) for frame in clip] for clip in plan.frames.judged]
    judge = Judge.of(base, clips)
    layers: tuple[KeptLayers, ...] = ()
    if "int8" in plan.precisions:
        found = _quantize(folder, manifest, plan, judge, say)
        layers = found.layers
        manifest = _with_int8(folder, manifest, found.model)
    manifest = manifest.model_copy(update={"precisions": None})
    (folder / MANIFEST_NAME).write_bytes(manifest.to_json())
    report, differences = _measure(folder, manifest, plan, judge, layers, say)
    (folder / PRECISIONS_NAME).write_bytes(report.model_dump_json(indent=2).encode() + b"\n")
    (folder / MANIFEST_NAME).write_bytes(_with_report(folder, manifest, differences).to_json())
    return report


def _quantize(
    folder: Path, manifest: Manifest, plan: PrecisionPlan, judge: Judge, say: Callable[[str], None]
) -> QuantizedModel:
    pair = manifest.engines["fp32"]
    model = onnx.load(str(folder / pair["frame"].file))
    frames = [manifest.preprocess.prepare(frame) for frame in plan.frames.calibration]

    def agreement(quantized: Any) -> DetectionAgreement:
        with TemporaryDirectory(prefix="selsa-int8-") as scratch:
            path = Path(scratch) / INT8_NAME
            onnx.save(quantized, str(path))
            options = RuntimeOptions(threads=plan.threads, precision="int8")
            engines = OnnxEngines(path, folder / pair["sequence"].file, manifest.dimensions, options)
            return judge.agreement(engines)

    return quantize_until(model, frames, agreement, plan.bounds, say)


def _with_int8(folder: Path, manifest: Manifest, model: Any) -> Manifest:
    """The sequence engine stays fp32: it is a tenth of the time, and scores are what is looked at."""
    path = folder / INT8_NAME
    onnx.save(model, str(path))
    pair = manifest.engines["fp32"]
    frame = EngineFile(**StoredFile.of(path).model_dump(), tensors=pair["frame"].tensors)
    engines = {**manifest.engines, "int8": {"frame": frame, "sequence": pair["sequence"]}}
    return manifest.model_copy(update={"engines": engines})


def _ways(plan: PrecisionPlan) -> tuple[list[Way], dict[str, str]]:
    """The ways to run that are measured, the base first, and those that are not, with the reason."""
    ways: list[Way] = [BASE]
    left_out = {}
    host = Host.here()
    wanted: list[Way] = [("cpu", "int8"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8")]
    for provider, precision in wanted:
        if precision not in plan.precisions and precision != "fp32":
            continue
        reason = host.lacks(provider) or host.cannot(provider, precision)
        if reason is None:
            ways.append((provider, precision))
        else:
            left_out[f"{precision} on {provider}"] = reason
    return ways, left_out


def _measure(
    folder: Path,
    manifest: Manifest,
    plan: PrecisionPlan,
    judge: Judge,
    layers: tuple[KeptLayers, ...],
    say: Callable[[str], None],
) -> tuple[PrecisionReport, dict[Way, GateDifference]]:
    ways, left_out = _ways(plan)
    with ExitStack() as opened:
        engines: dict[Way, Engines] = {}
        for provider, precision in ways:
            options = EngineOptions(provider=provider, precision=precision, threads=plan.threads)
            engines[provider, precision] = loaded = load_engines(folder, options).engines
            opened.callback(loaded.close)
        frame = judge.clips[0][0]
        say("measuring speed, in turn")
        named = {f"{precision} on {provider}": engines[provider, precision] for provider, precision in ways}
        seconds = dict(zip(ways, seconds_in_turn(named, frame, rounds=ROUNDS).values(), strict=True))
        accuracies = _accuracies(engines, manifest, plan.data, say)
        measured = tuple(
            MeasuredPrecision(
                provider=way[0],
                precision=way[1],
                frame_engine_bytes=_frame_bytes(manifest, way),
                times_as_fast=round(times_as_fast(seconds[BASE], seconds[way]), 3),
                seconds=round(sorted(seconds[way])[ROUNDS // 2], 4),
                agreement=judge.agreement(engines[way]),
                accuracy=accuracies.get(way),
            )
            for way in ways
        )
        differences = _gate_differences(folder, manifest, engines)
    report = PrecisionReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=processor_name(),
        threads=plan.threads,
        engine_input=(frame.pixels.shape[1], frame.pixels.shape[0]),
        frames=plan.frames.described,
        calibration=plan.frames.described if layers else None,
        bounds=plan.bounds,
        layers=layers,
        measured=measured,
        left_out=left_out,
    )
    return report, differences


def _frame_bytes(manifest: Manifest, way: Way) -> int:
    return manifest.engines["int8" if way[1] == "int8" else "fp32"]["frame"].bytes


def _accuracies(
    engines: dict[Way, Engines], manifest: Manifest, data: PrecisionData | None, say: Callable[[str], None]
) -> dict[Way, Accuracy]:
    if data is None:
        return {}
    scores = {}
    for way, each in engines.items():
        say(f"AP50 of {way[1]} on {way[0]}, {data.data.frame_count} frames")
        scores[way] = ap50_of(each, manifest, data)
    return {
        way: Accuracy(
            data=data.name,
            split=data.split,
            videos=data.data.video_count,
            ap50=score,
            ap50_fp32=scores[BASE],
        )
        for way, score in scores.items()
    }


def _gate_differences(
    folder: Path, manifest: Manifest, engines: dict[Way, Engines]
) -> dict[Way, GateDifference]:
    assert manifest.gate is not None
    gate = read_gate(folder / manifest.gate.file, manifest.dimensions)
    return {
        way: compare_outputs(
            gate,
            run_gate(each, gate.frames, gate.image_size, gate.scale_factor),
            USUAL_TOLERANCES[way[1]].partner_iou,
        )
        for way, each in engines.items()
    }


def _with_report(folder: Path, manifest: Manifest, differences: dict[Way, GateDifference]) -> Manifest:
    """The manifest with the report, and with tolerances of the gate for what was measured."""
    assert manifest.gate is not None
    tolerances = dict(manifest.gate.tolerances)
    for precision in dict.fromkeys(precision for _, precision in differences):
        if precision == "fp32":
            continue
        around = [
            tolerance_around(found, precision) for way, found in differences.items() if way[1] == precision
        ]
        # One bound for every provider that computes so: the widest.
        widest = {
            name: max(getattr(each, name) for each in around)
            for name in ("unmatched", "corner", "feature", "score")
        }
        tolerances[precision] = around[0].model_copy(update=widest)
    gate = manifest.gate.model_copy(update={"tolerances": tolerances})
    stored = StoredFile.of(folder / PRECISIONS_NAME)
    return manifest.model_copy(update={"gate": gate, "precisions": stored})
