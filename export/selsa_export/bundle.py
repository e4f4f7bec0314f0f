"""Export a checkpoint as a bundle."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from selsa_bundle.contract import ENGINES, Dimensions, EngineName
from selsa_bundle.engine import Engines
from selsa_bundle.files.new_folder import new_folder
from selsa_bundle.files.stored_file import StoredFile
from selsa_bundle.manifest import MANIFEST_NAME, About, EngineFile, GateFile, Manifest, Provenance, Variant
from selsa_bundle.runtimes.onnx import OnnxEngines, RuntimeOptions
from selsa_export.errors import ExportError
from selsa_export.graphs.precision import FloatPrecision
from selsa_export.graphs.write import write_graph
from selsa_export.parity.frames import Frame
from selsa_export.parity.gate_frames import write_gate_file
from selsa_export.parity.native_bundle import write_natives
from selsa_export.parity.parity import ParityReference
from selsa_export.parity.report import ParityReport
from selsa_export.precision.bundle import add_precisions
from selsa_export.precision.plan import PrecisionPlan
from selsa_export.precision.summary import summary_of
from selsa_training.checkpoint.checkpoint import Checkpoint
from selsa_training.checkpoint.detector import detector_of
from selsa_training.checkpoint.untrained import UNTRAINED
from selsa_training.config import ModelConfig
from selsa_training.families import AnyDetector
from selsa_training.model.torch_engines import TorchEngines

Graphs = dict[Variant, dict[EngineName, EngineFile]]
UNTRAINED_WARNING: Final = "Untrained weights: the detections mean nothing. For tests and measurements only."
WRITERS: Final = ("selsa", "torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime")


def export_bundle(
    checkpoint: Checkpoint,
    folder: Path,
    frames: Sequence[Frame],
    described: str,
    *,
    overwrite: bool = False,
    natives: Sequence[FloatPrecision] = (),
    precisions: PrecisionPlan | None = None,
    about: About | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> ParityReport:
    """Write the bundle of a checkpoint. The folder appears only if complete and if its engines pass parity.

    Args:
        frames: at least two, uint8 [h, w, 3] RGB; the engines are compared with torch on them.
        described: source of the frames, for the report.
        precisions: precisions to make and measure besides fp32.
        about: description of the model; None: `about_of(checkpoint)`.

    Raises:
        ExportError: the engines do not compute what the model computes.
        TargetTakenError: something is at `folder` that may not be replaced.
        OSError: the folder cannot be written.
    """
    detector = detector_of(checkpoint)
    preprocess = checkpoint.config.preprocess
    with new_folder(folder, marker=MANIFEST_NAME, overwrite=overwrite) as part:
        engine_files: dict[EngineName, EngineFile] = {}
        for name in ENGINES:
            say(f"writing the {name} engine")
            path = part / f"{name}.onnx"
            contract = write_graph(name, detector, path)
            engine_files[name] = EngineFile(**StoredFile.of(path).model_dump(), tensors=contract)
        say(f"comparing with torch on {len(frames)} frames: {described}")
        prepared = [preprocess.prepare(frame) for frame in frames]
        reference = ParityReference.of(detector, prepared)
        report = reference.report(_engines(part, detector.dimensions), described)
        if failures := report.failures():
            raise ExportError("the engines differ from the model: " + "; ".join(failures))
        native_files, native_parity = write_natives(detector, part, natives, reference, say)
        report = report.model_copy(update={"native": native_parity})
        parity = part / "parity.json"
        parity.write_bytes(report.model_dump_json(indent=2).encode() + b"\n")
        gate = write_gate_file(part, TorchEngines(detector), preprocess, report.compared_with)
        engines: Graphs = {"fp32": engine_files, **native_files}
        manifest = _manifest(checkpoint, detector, engines, StoredFile.of(parity), gate)
        manifest = manifest.model_copy(update={"about": about or about_of(checkpoint)})
        (part / MANIFEST_NAME).write_bytes(manifest.to_json())
        if precisions is not None:
            for line in summary_of(add_precisions(part, precisions, say)):
                say(line)
    return report


def with_reference_proposals(checkpoint: Checkpoint, count: int) -> Checkpoint:
    """The checkpoint of a model whose key frames attend to the `count` best proposals of a reference frame.

    Raises:
        ExportError: the model has fewer proposals, or is of a family with a number of its own.
    """
    config = checkpoint.config
    if not isinstance(config, ModelConfig):
        raise ExportError(f"--reference-proposals: a model of the family {config.family} has its own number")
    if count > config.proposals.proposals:
        raise ExportError(f"--reference-proposals is {count}; allowed are 1 to {config.proposals.proposals}")
    proposals = config.proposals.model_copy(update={"reference_proposals": count})
    return replace(checkpoint, config=config.model_copy(update={"proposals": proposals}))


def about_of(
    checkpoint: Checkpoint,
    *,
    title: str | None = None,
    description: str | None = None,
    warning: str | None = None,
) -> About:
    """The model in words; what is not given is taken from the checkpoint.

    Raises:
        ExportError: a text is empty or too long.
    """
    untrained = checkpoint.origin.startswith(UNTRAINED)
    classes = len(checkpoint.config.classes)
    try:
        return About(
            title=title or f"{checkpoint.config.name}{', untrained' if untrained else ''}",
            description=description or f"Knows {classes} classes. Origin: {checkpoint.origin}"[:1000],
            warning=warning or (UNTRAINED_WARNING if untrained else None),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ExportError(f"--{first['loc'][0]} is not allowed: {first['msg']}") from error


def _engines(folder: Path, dimensions: Dimensions) -> Engines:
    return OnnxEngines(folder / "frame.onnx", folder / "sequence.onnx", dimensions, RuntimeOptions())


def _manifest(
    checkpoint: Checkpoint, detector: AnyDetector, engines: Graphs, parity: StoredFile, gate: GateFile
) -> Manifest:
    config = checkpoint.config
    return Manifest(
        name=config.name,
        classes=config.classes,
        preprocess=config.preprocess,
        dimensions=detector.dimensions,
        reference_frames=config.reference_frames,
        engines=engines,
        parity=parity,
        gate=gate,
        provenance=Provenance(
            architecture=detector.architecture,
            checkpoint_sha256=checkpoint.sha256,
            origin=checkpoint.origin,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions={name: version(name) for name in WRITERS},
        ),
    )
