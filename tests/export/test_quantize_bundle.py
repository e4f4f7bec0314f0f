"""A bundle in several precisions: measurements, checksums, and the choice by the bundle's report."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import typer
from typer.testing import CliRunner

from selsa_bundle.default_bundle import synthetic_bundle, synthetic_video
from selsa_bundle.errors import ChecksumError, ChoiceError, ManifestError
from selsa_bundle.files.stored_file import StoredFile
from selsa_bundle.manifest import EngineFile, Manifest
from selsa_bundle.precision_report import Bounds, PrecisionReport, read_precisions
from selsa_bundle.runtimes.choice import EngineOptions
from selsa_bundle.runtimes.host import Host
from selsa_bundle.runtimes.load import load_engines, prove_engines, verify_bundle
from selsa_bundle.tolerance import USUAL_TOLERANCES
from selsa_export.cli.export import export
from selsa_export.cli.quantize import quantize
from selsa_export.errors import ExportError
from selsa_export.parity.frames import read_frames
from selsa_export.parity.gate_frames import widest
from selsa_export.precision.bundle import quantize_bundle
from selsa_export.precision.frames import PrecisionFrames, procedural_clips, read_clips
from selsa_export.precision.measure import compare_with, detections_of
from selsa_export.precision.plan import PrecisionPlan, check_precisions
from selsa_export.precision.summary import summary_of

RUNS_INT8 = Host.here().cannot("cpu", "int8", weight_bits=7) is None
needs_int8 = pytest.mark.skipif(not RUNS_INT8, reason="no int8 instructions on this processor")


@pytest.fixture(scope="module")
def few() -> PrecisionFrames:
    frames = read_frames(synthetic_video(), 6)
    return PrecisionFrames(
        calibration=tuple(frames[1::2]), judged=(tuple(frames[::2]),), described="sample.mp4"
    )


@pytest.fixture(scope="module")
def with_natives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged bundle with its graphs also used as native ones, because they have the same layers."""
    folder = Path(shutil.copytree(synthetic_bundle(), tmp_path_factory.mktemp("natives") / "bundle"))
    manifest = Manifest.read(folder)
    pair = manifest.engines["fp32"]
    engines = {**manifest.engines, "native": pair, "native-fp16": pair}
    (folder / "manifest.json").write_bytes(manifest.model_copy(update={"engines": engines}).to_json())
    return folder


@pytest.fixture(scope="module")
def quantized(with_natives: Path, few: PrecisionFrames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantized") / "bundle"
    # Bounds that always hold: nothing goes back to fp32, so this takes seconds.
    plan = PrecisionPlan(
        precisions=("fp32", "fp16", "int8"), frames=few, bounds=Bounds(matched=0.5, score_p95=0.5), threads=1
    )
    quantize_bundle(with_natives, folder, plan)
    return folder


@pytest.fixture(scope="module")
def report(quantized: Path) -> PrecisionReport:
    return read_precisions(quantized / "precisions.json")


def test_the_old_bundle_is_unchanged_and_the_new_one_is_complete(with_natives: Path, quantized: Path) -> None:
    old, new = verify_bundle(with_natives)[0], verify_bundle(quantized)[0]
    assert set(new.engines) == {*old.engines, "int8", "native-int8"}
    assert new.engines["fp32"] == old.engines["fp32"]
    assert new.engines["int8"]["sequence"] == old.engines["fp32"]["sequence"]
    assert new.engines["native-int8"]["sequence"] == old.engines["native-fp16"]["sequence"]
    assert (old.weight_bits, new.weight_bits) == (None, 7)
    for variant in ("int8", "native-int8"):
        assert new.engines[variant]["frame"].bytes < 0.35 * old.engines["fp32"]["frame"].bytes


def test_tensorrt_is_measured_with_a_stand_in_and_without_speed(
    quantized: Path, report: PrecisionReport
) -> None:
    for precision in ("fp16", "int8"):
        found = report.of("tensorrt", precision)
        assert found is not None and found.stand_in is not None
        assert found.stand_in.startswith("ONNX Runtime ")
        assert found.times_as_fast is None and found.seconds is None
        assert found.agreement.share > 0.8
    lines = [line for line in summary_of(report) if "tensorrt" in line]
    assert len(lines) == 2 and all("computed by ONNX Runtime" in line for line in lines)
    tolerances = verify_bundle(quantized)[0].gate.tolerances
    # Nothing was measured on a GPU, so its gate is not narrower than usual.
    assert tolerances["fp16"] == widest([tolerances["fp16"], USUAL_TOLERANCES["fp16"]])


def test_fp16_without_graphs_for_it_is_refused(few: PrecisionFrames, tmp_path: Path) -> None:
    plan = PrecisionPlan(precisions=("fp32", "fp16"), frames=few)
    with pytest.raises(ExportError, match="needs the native graphs in fp16; this bundle has fp32"):
        quantize_bundle(synthetic_bundle(), tmp_path / "bundle", plan)
    assert list(tmp_path.iterdir()) == []


def test_int8_of_a_graph_with_other_names_is_refused(few: PrecisionFrames, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(synthetic_bundle(), tmp_path / "old"))
    model = onnx.load(str(folder / "frame.onnx"))
    for each in (*model.graph.initializer, *model.graph.node):
        each.name = each.name.replace(".weight", ".w")
        for position, name in enumerate(getattr(each, "input", ())):
            each.input[position] = name.replace(".weight", ".w")
    onnx.save(model, str(folder / "frame.onnx"))
    manifest = Manifest.read(folder)
    pair = manifest.engines["fp32"]
    frame = EngineFile(**StoredFile.of(folder / "frame.onnx").model_dump(), tensors=pair["frame"].tensors)
    engines = {"fp32": {**pair, "frame": frame}}
    (folder / "manifest.json").write_bytes(manifest.model_copy(update={"engines": engines}).to_json())
    plan = PrecisionPlan(precisions=("fp32", "int8"), frames=few, threads=1)
    with pytest.raises(ExportError, match="int8 needs it exported again"):
        quantize_bundle(folder, tmp_path / "bundle", plan)


def test_the_report_has_every_way_that_this_machine_can_run(report: PrecisionReport) -> None:
    ways = {(each.provider, each.precision) for each in report.measured}
    assert ("cpu", "fp32") in ways
    missing = {tuple(reversed(name.split(" on "))) for name in report.left_out}
    assert ways | missing >= {("cpu", "int8"), ("openvino", "int8"), ("openvino", "fp32")}
    assert report.instructions == Host.here().known_flags
    base = report.of("cpu", "fp32")
    assert base is not None and base.times_as_fast == 1
    assert base.agreement.matched == base.agreement.compared > 0
    assert base.agreement.score_quantiles["1"] == 0


def test_the_report_has_cost_and_effect_of_each_block(report: PrecisionReport) -> None:
    assert sum(layer.cost for layer in report.layers) == pytest.approx(1, abs=1e-3)
    assert all(layer.damage > 0 for layer in report.layers)
    assert not any(layer.kept_fp32 for layer in report.layers)


@needs_int8
def test_int8_runs_and_passes_its_own_tolerance_but_not_that_of_fp32(quantized: Path) -> None:
    bundle = load_engines(quantized, EngineOptions(provider="cpu", precision="int8"))
    assert (bundle.engines.info.precision, bundle.variant, bundle.why) == ("int8", "int8", "as asked for")
    difference = prove_engines(bundle)
    gate = bundle.manifest.gate
    assert difference is not None and gate is not None
    assert difference.failures(gate.tolerances["int8"], 2) == []
    assert difference.failures(gate.tolerances["fp32"], 2)


@needs_int8
def test_both_runtimes_compute_the_same_int8_graph(quantized: Path, few: PrecisionFrames) -> None:
    if Host.here().lacks("openvino") is not None:
        pytest.skip("openvino is not installed")
    found = []
    for provider in ("cpu", "openvino"):
        bundle = load_engines(quantized, EngineOptions(provider=provider, precision="int8"))
        clips = [[bundle.manifest.preprocess.prepare(frame) for frame in few.judged[0]]]
        found.append(detections_of(bundle.engines, clips))
        bundle.engines.close()
    agreement = compare_with(*found)
    assert agreement.compared > 0
    assert agreement.share > 0.8


@pytest.fixture
def copy(quantized: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(quantized, tmp_path / "bundle"))


def test_an_edited_int8_engine_is_refused_and_fp32_still_loads(copy: Path) -> None:
    path = copy / "frame.int8.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert prove_engines(load_engines(copy)) is not None
    with pytest.raises(ChecksumError, match=r"frame\.int8\.onnx has sha256"):
        verify_bundle(copy)
    if RUNS_INT8:
        with pytest.raises(ChecksumError, match=r"frame\.int8\.onnx has sha256"):
            load_engines(copy, EngineOptions(provider="cpu", precision="int8"))


def test_an_edited_report_is_ignored(copy: Path) -> None:
    content = json.loads((copy / "precisions.json").read_bytes())
    content["measured"][0]["times_as_fast"] = 99
    (copy / "precisions.json").write_text(json.dumps(content))
    with pytest.raises(ChecksumError, match=r"precisions\.json"):
        load_engines(copy)


def test_a_report_with_a_value_that_is_not_allowed_is_named(copy: Path) -> None:
    content = json.loads((copy / "precisions.json").read_bytes())
    content["measured"][0]["provider"] = "abacus"
    (copy / "precisions.json").write_text(json.dumps(content))
    manifest = Manifest.read(copy)
    changed = manifest.model_copy(update={"precisions": StoredFile.of(copy / "precisions.json")})
    (copy / "manifest.json").write_bytes(changed.to_json())
    with pytest.raises(ManifestError, match=r"precisions\.json: measured\.0\.provider"):
        load_engines(copy)


def test_a_precision_that_the_bundle_lacks_is_refused() -> None:
    with pytest.raises(ChoiceError, match=r"this bundle has no int8 engines \(it has fp32\)"):
        load_engines(synthetic_bundle(), EngineOptions(provider="cpu", precision="int8"))


def test_a_precision_outside_its_bounds_is_reported_and_never_chosen_automatically(
    report: PrecisionReport,
) -> None:
    found = report.of("cpu", "int8")
    if found is None:
        pytest.skip("int8 was not measured on this processor")
    agreement = found.agreement.model_copy(update={"matched": found.agreement.compared // 2})
    strict = replace_agreement(found, agreement).failures(Bounds())
    assert "of fp32 detections matched, 97.0% wanted" in strict[0]
    nothing = replace_agreement(found, found.agreement.model_copy(update={"compared": 0, "matched": 0}))
    assert nothing.failures(Bounds())[0] == "no fp32 detection scores 0.3 or more"


def replace_agreement(found, agreement):
    return found.model_copy(update={"agreement": agreement})


def video(path: Path, frames: int, blue: int = 0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for i in range(frames):
        writer.write(np.full((48, 64, 3), (blue, 6 * i, 6 * i), np.uint8))
    writer.release()
    return path


def test_calibration_and_comparison_use_different_frames(tmp_path: Path) -> None:
    found = read_clips([video(tmp_path / "a.avi", 9), video(tmp_path / "b.avi", 40, blue=200)])
    assert [len(clip) for clip in found.judged] == [5, 12]
    assert len(found.calibration) == 4 + 12
    judged = {frame.tobytes() for clip in found.judged for frame in clip}
    assert judged.isdisjoint(frame.tobytes() for frame in found.calibration)
    assert found.described == "a.avi, b.avi"


@pytest.mark.parametrize(("frames", "said"), [(0, "no frame can be read"), (1, "one frame only")])
def test_a_calibration_video_without_frames_is_named(tmp_path: Path, frames: int, said: str) -> None:
    path = video(tmp_path / "short.avi", frames)
    path.touch()
    with pytest.raises(ExportError, match=rf"short\.avi: {said}"):
        read_clips([path])
    with pytest.raises(ExportError, match="there is no such file"):
        read_clips([tmp_path / "none.mp4"])


def test_an_unknown_precision_is_named_with_what_is_allowed() -> None:
    with pytest.raises(ExportError, match="'int4'; allowed are fp32, bf16, fp16, int8"):
        check_precisions("fp32,int4")
    assert check_precisions("int8, fp32") == ("fp32", "int8")


def test_a_plan_without_videos_has_procedural_frames() -> None:
    frames = procedural_clips()
    assert len(frames.calibration) == len(frames.judged[0]) == 3
    assert replace(frames, described="x").described == "x"


@pytest.mark.parametrize("command", ["export", "quantize"])
def test_the_commands_name_what_is_missing_and_write_nothing(tmp_path: Path, command: str) -> None:
    app = typer.Typer()
    app.command()({"export": export, "quantize": quantize}[command])
    target = str(tmp_path / "out")
    for options, said in (
        (["--precision", "int8"], "--precision int8 needs --calibrate VIDEO"),
        (["--precision", "int4"], "'int4'; allowed are"),
        (["--precision", "fp16", *(["--native", "none"] * (command == "export"))], "needs the native graphs"),
        (["--precision", "int8", "--calibrate", str(tmp_path / "no.mp4")], "no such file"),
    ):
        done = CliRunner().invoke(app, [str(synthetic_bundle()), "-o", target, *options])
        assert done.exit_code == 3, done.output
        assert f"error: {said}" in done.stderr or said in done.stderr
        assert list(tmp_path.iterdir()) == []
