"""From a checkpoint to a bundle's folder."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from selsa_bundle.contract import EngineName
from selsa_bundle.engine import Engines
from selsa_bundle.manifest import MANIFEST_NAME, EngineFile, Manifest, Provenance, StoredFile
from selsa_bundle.new_folder import new_folder
from selsa_bundle.runtime_onnx import OnnxEngines, RuntimeOptions
from selsa_export.errors import ParityError
from selsa_export.onnx_graphs import dimensions_of, write_graph
from selsa_export.parity import ParityReport, measure_parity
from selsa_export.parity_frames import Frame
from selsa_training.checkpoint import Checkpoint
from selsa_training.model.detector import SelsaDetector, build_detector

__all__ = ["detector_of", "export_bundle"]

ENGINES: Final[tuple[EngineName, ...]] = ("frame", "sequence")
WRITERS: Final = ("selsa", "torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime")


def detector_of(checkpoint: Checkpoint) -> SelsaDetector:
    """The checkpoint's model in evaluation mode, on the CPU, not to be trained."""
    detector = build_detector(checkpoint.config)
    detector.load_state_dict(checkpoint.tensors, strict=True)
    return detector.eval().requires_grad_(requires_grad=False)


def export_bundle(
    checkpoint: Checkpoint,
    folder: Path,
    frames: Sequence[Frame],
    described: str,
    *,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> ParityReport:
    """Write the bundle of a checkpoint; it appears complete and proven, or not at all.

    Args:
        checkpoint: what to export.
        folder: the bundle's folder.
        frames: uint8 [h, w, 3] RGB, two at least; the engines are compared with torch on them.
        described: where the frames are from, for the report.
        overwrite: replace an older bundle at `folder`.
        say: told of every step.

    Raises:
        ParityError: the engines do not compute what the model computes.
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
        report = measure_parity(detector, _engines(part, checkpoint), prepared, described)
        if failures := report.failures():
            raise ParityError("the engines differ from the model: " + "; ".join(failures))
        parity = part / "parity.json"
        parity.write_bytes(report.model_dump_json(indent=2).encode() + b"\n")
        manifest = _manifest(checkpoint, engine_files, StoredFile.of(parity))
        (part / MANIFEST_NAME).write_bytes(manifest.to_json())
    return report


def _engines(folder: Path, checkpoint: Checkpoint) -> Engines:
    return OnnxEngines(
        folder / "frame.onnx", folder / "sequence.onnx", dimensions_of(checkpoint.config), RuntimeOptions()
    )


def _manifest(checkpoint: Checkpoint, engines: dict[EngineName, EngineFile], parity: StoredFile) -> Manifest:
    config = checkpoint.config
    return Manifest(
        name=config.name,
        classes=config.classes,
        preprocess=config.preprocess,
        dimensions=dimensions_of(config),
        reference_frames=config.reference_frames,
        engines={"fp32": engines},
        parity=parity,
        provenance=Provenance(
            architecture=f"{config.backbone} DC5, {config.head.stages} aggregation stages",
            checkpoint_sha256=checkpoint.sha256,
            origin=checkpoint.origin,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions={name: version(name) for name in WRITERS},
        ),
    )
