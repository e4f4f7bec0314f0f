"""Precisions of a bundle: make int8 graphs, measure every way to run the bundle, and write the report."""

import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from selsa_bundle.files.new_folder import new_folder
from selsa_bundle.files.stored_file import StoredFile
from selsa_bundle.gate.check import GateDifference, compare_outputs
from selsa_bundle.gate.gate import read_gate, run_gate
from selsa_bundle.manifest import MANIFEST_NAME, Manifest
from selsa_bundle.precision_report import (
    PRECISIONS_NAME,
    Accuracy,
    KeptLayers,
    MeasuredPrecision,
    PrecisionReport,
)
from selsa_bundle.preprocess import PreparedFrame
from selsa_bundle.runtimes.host import Host
from selsa_bundle.runtimes.load import FP32_ON_CPU, load_engines, verify_bundle
from selsa_bundle.runtimes.processor import processor_name
from selsa_bundle.tolerance import USUAL_TOLERANCES, GateTolerance, Precision
from selsa_export.errors import ExportError
from selsa_export.parity.gate_frames import tolerance_around, widest, write_gate_file
from selsa_export.precision.graphs import add_int8
from selsa_export.precision.measure import Judge, PrecisionData, ap50_of, seconds_in_turn, times_as_fast
from selsa_export.precision.plan import PrecisionPlan
from selsa_export.precision.ways import BASE, OpenWay, Way, opened_ways

ROUNDS: Final = 7
DERIVED: Final = "the bundle's fp32 engines in ONNX Runtime, whose agreement with torch parity.json reports"

Ways = Mapping[Way, OpenWay]
Differences = Mapping[Way, GateDifference]


def quantize_bundle(
    bundle: Path,
    folder: Path,
    plan: PrecisionPlan | None,
    *,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> PrecisionReport | None:
    """Copy a bundle to `folder` and add the planned precisions; the original is not modified.

    A bundle of an older version without a gate gets one, also without a plan.

    Raises:
        BundleError: the bundle cannot be used.
        ExportError: see the parts of the plan.
        TargetTakenError: something is at `folder` that may not be replaced.
        OSError: the folder cannot be written.
    """
    manifest, _ = verify_bundle(bundle)
    with new_folder(folder, marker=MANIFEST_NAME, overwrite=overwrite) as part:
        for name in _files(manifest):
            shutil.copyfile(bundle / name, part / name)
        if manifest.gate is None:
            engines = load_engines(part, FP32_ON_CPU).engines
            gate = write_gate_file(part, engines, manifest.preprocess, DERIVED)
            manifest = manifest.model_copy(update={"gate": gate})
            (part / MANIFEST_NAME).write_bytes(manifest.to_json())
        return None if plan is None else add_precisions(part, plan, say)


def add_precisions(
    folder: Path, plan: PrecisionPlan, say: Callable[[str], None] = lambda _: None
) -> PrecisionReport:
    """Add the planned precisions to a bundle that has a gate. Changes `folder`, which must not be in use.

    Raises:
        BundleError: the bundle cannot be used.
        ExportError: see the parts of the plan; or a precision needs graphs that the
            bundle lacks.
    """
    manifest = Manifest.read(folder)
    if "fp16" in plan.precisions and "native-fp16" not in manifest.engines:
        raise ExportError(
            "--precision fp16 is for TensorRT and needs the native graphs in fp16; this bundle has "
            f"{', '.join(manifest.engines)}: export it with --native fp16"
        )
    base = load_engines(folder, FP32_ON_CPU).engines
    clips = [[manifest.preprocess.prepare(frame) for frame in clip] for clip in plan.frames.judged]
    judge = Judge.of(base, clips)
    layers: tuple[KeptLayers, ...] = ()
    if "int8" in plan.precisions:
        manifest, layers = add_int8(folder, manifest, plan, judge, say)
    manifest = manifest.model_copy(update={"precisions": None})
    (folder / MANIFEST_NAME).write_bytes(manifest.to_json())
    with opened_ways(folder, manifest, plan) as (ways, left_out):
        measured = _measured(ways, manifest, plan, judge, say)
        differences = _gate_differences(folder, manifest, ways)
    frame = judge.clips[0][0]
    report = PrecisionReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=processor_name(),
        instructions=Host.here().known_flags,
        threads=plan.threads,
        engine_input=(frame.pixels.shape[1], frame.pixels.shape[0]),
        frames=plan.frames.described,
        calibration=plan.frames.described if layers else None,
        bounds=plan.bounds,
        layers=layers,
        measured=measured,
        left_out=left_out,
    )
    (folder / PRECISIONS_NAME).write_bytes(report.model_dump_json(indent=2).encode() + b"\n")
    (folder / MANIFEST_NAME).write_bytes(_with_report(folder, manifest, ways, differences).to_json())
    return report


def _measured(
    ways: Ways, manifest: Manifest, plan: PrecisionPlan, judge: Judge, say: Callable[[str], None]
) -> tuple[MeasuredPrecision, ...]:
    seconds = _seconds(ways, judge.clips[0][0], say)
    accuracies = _accuracies(ways, manifest, plan.data, say)
    measured = []
    for way, opened in ways.items():
        provider, precision = way
        say(f"comparing detections of {precision} on {provider}")
        timed = seconds.get(way)
        measured.append(
            MeasuredPrecision(
                provider=provider,
                precision=precision,
                stand_in=opened.stand_in,
                frame_engine_bytes=manifest.engines[opened.variant]["frame"].bytes,
                times_as_fast=None if timed is None else round(times_as_fast(seconds[BASE], timed), 3),
                seconds=None if timed is None else round(sorted(timed)[ROUNDS // 2], 4),
                agreement=judge.agreement(opened.engines),
                accuracy=accuracies.get(way),
            )
        )
    return tuple(measured)


def _seconds(ways: Ways, frame: PreparedFrame, say: Callable[[str], None]) -> dict[Way, list[float]]:
    """Seconds of the frame engine for one frame, by round; ways with a stand-in are not timed."""
    say("measuring speed, in turn")
    timed = {way: opened.engines for way, opened in ways.items() if opened.stand_in is None}
    return seconds_in_turn(timed, frame, rounds=ROUNDS)


def _accuracies(
    ways: Ways, manifest: Manifest, data: PrecisionData | None, say: Callable[[str], None]
) -> dict[Way, Accuracy]:
    if data is None:
        return {}
    scores = {}
    for way, opened in ways.items():
        say(f"AP50 of {way[1]} on {way[0]}, {data.data.frame_count} frames")
        scores[way] = ap50_of(opened.engines, manifest, data)
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


def _gate_differences(folder: Path, manifest: Manifest, ways: Ways) -> Differences:
    assert manifest.gate is not None
    gate = read_gate(folder / manifest.gate.file, manifest.dimensions)
    return {
        way: compare_outputs(
            gate,
            run_gate(opened.engines, gate.frames, gate.image_size, gate.scale_factor),
            USUAL_TOLERANCES[way[1]].partner_iou,
            manifest.dimensions.tensors,
        )
        for way, opened in ways.items()
    }


def _with_report(folder: Path, manifest: Manifest, ways: Ways, differences: Differences) -> Manifest:
    """The manifest with the report, and with gate tolerances for the measured precisions."""
    assert manifest.gate is not None
    tolerances = dict(manifest.gate.tolerances)
    for precision in dict.fromkeys(precision for _, precision in differences):
        if precision != "fp32":
            tolerances[precision] = _tolerance(precision, ways, differences)
    gate = manifest.gate.model_copy(update={"tolerances": tolerances})
    stored = StoredFile.of(folder / PRECISIONS_NAME)
    return manifest.model_copy(update={"gate": gate, "precisions": stored})


def _tolerance(precision: Precision, ways: Ways, differences: Differences) -> GateTolerance:
    """One tolerance for all providers of a precision: the widest of theirs.

    If only a stand-in was measured, at least the usual tolerance, because the real provider rounds
    differently.
    """
    measured = [way for way in differences if way[1] == precision]
    around = [tolerance_around(differences[way], precision) for way in measured]
    if all(ways[way].stand_in is not None for way in measured):
        around.append(USUAL_TOLERANCES[precision])
    return widest(around)


def _files(manifest: Manifest) -> set[str]:
    """The manifest and the files that it names; other files in the folder are not part of the bundle."""
    graphs = {engine.file for pair in manifest.engines.values() for engine in pair.values()}
    others = (manifest.parity, manifest.gate, manifest.precisions, manifest.evaluation)
    return {MANIFEST_NAME, *graphs, *(each.file for each in others if each is not None)}
