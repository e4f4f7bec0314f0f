"""The evaluated model: a checkpoint in torch, or a bundle on its runtime, behind one protocol."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from selsa_bundle.default_bundle import bundle_folder
from selsa_bundle.engine import Engines
from selsa_bundle.manifest import MANIFEST_NAME as BUNDLE_MARKER
from selsa_bundle.preprocess import Preprocess
from selsa_training.checkpoint.checkpoint import MANIFEST_NAME as CHECKPOINT_MARKER
from selsa_training.checkpoint.checkpoint import Checkpoint, how_to_checkpoint, load_checkpoint
from selsa_training.checkpoint.detector import detector_of
from selsa_training.evaluation.errors import EvaluationError
from selsa_training.model.torch_engines import TorchEngines
from selsa_training.running.run_folder import CHECKPOINT as IN_A_RUN

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Options for running a model.

    Attributes:
        device: `cpu` or `cuda`; a bundle runs on the CPU only.
        threads: of one operator; 0: the runtime decides.
        proposals: proposals per frame instead of the configuration's; checkpoints only.
        provider: provider of a bundle's engines; None: ONNX Runtime on the CPU.
        precision: precision of a bundle's engines; None: fp32.
        size: long side of frames in pixels, at most the model's; 0: the model's.
    """

    device: Device = "cpu"
    threads: int = 0
    proposals: int | None = None
    provider: str | None = None
    precision: str | None = None
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedModel:
    """A model that is ready to run.

    Attributes:
        classes: names of the labels.
        preprocess: from an image to the frame engine's input.
        reference_frames: the model's default number of reference frames.
        bundle: the folder, if the model is a bundle.
        about: description of the model, for a report.
    """

    classes: tuple[str, ...]
    preprocess: Preprocess
    reference_frames: int
    engines: Engines
    bundle: Path | None
    about: dict[str, Any]


def open_model(path: Path, options: ModelOptions) -> OpenedModel:
    """Open a bundle, a checkpoint, or the folder of a training run with a checkpoint in it.

    Args:
        path: the folder, or the name of a packaged bundle.

    Raises:
        EvaluationError: the path is none of these, or the model cannot run with these options.
        CheckpointError: the checkpoint is damaged.
        BundleError: the bundle is damaged, or its runtime cannot load it.
    """
    path = bundle_folder(path)
    if (path / BUNDLE_MARKER).is_file():
        return _at_size(_open_bundle(path, options), options.size)
    for folder in (path, path / IN_A_RUN):
        if (folder / CHECKPOINT_MARKER).is_file():
            return _at_size(_open_checkpoint(folder, options), options.size)
    hint = how_to_checkpoint(path)
    raise EvaluationError(
        f"{path} is none of: a bundle (with {BUNDLE_MARKER}), a checkpoint (with {CHECKPOINT_MARKER}), "
        f"a training run (with {IN_A_RUN}/{CHECKPOINT_MARKER})" + (f"; {hint}" if hint else "")
    )


def _open_checkpoint(folder: Path, options: ModelOptions) -> OpenedModel:
    if options.provider is not None or options.precision is not None:
        raise EvaluationError("--provider and --precision are for bundles; a checkpoint runs in torch")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise EvaluationError("--device cuda: torch finds no CUDA device here; allowed is cpu")
    checkpoint = load_checkpoint(folder)
    if options.proposals is not None:
        checkpoint = _with_proposals(checkpoint, options.proposals)
    if options.threads:
        torch.set_num_threads(options.threads)
    config = checkpoint.config
    device = torch.device(options.device)
    engines = TorchEngines(detector_of(checkpoint).to(device), device)
    about = {
        "kind": "checkpoint",
        "name": config.name,
        "sha256": checkpoint.sha256,
        "origin": checkpoint.origin,
        "provider": engines.info.provider,
    }
    return OpenedModel(
        classes=config.classes,
        preprocess=config.preprocess,
        reference_frames=config.reference_frames,
        engines=engines,
        bundle=None,
        about=about,
    )


def _at_size(model: OpenedModel, size: int) -> OpenedModel:
    own = model.preprocess.long_side
    if size > own:
        raise EvaluationError(f"--size is {size}; allowed is up to {own} pixels, the model's own size")
    return replace(model, preprocess=model.preprocess.at_size(size)) if size else model


def _with_proposals(checkpoint: Checkpoint, count: int) -> Checkpoint:
    """The same weights with another number of proposals."""
    config = checkpoint.config
    if not 0 < count <= config.proposals.candidates:
        most = config.proposals.candidates
        raise EvaluationError(f"--proposals is {count}; allowed are 1 to {most}, the boxes it ranks")
    proposals = config.proposals.model_copy(update={"proposals": count})
    return replace(checkpoint, config=config.model_copy(update={"proposals": proposals}))


def _open_bundle(folder: Path, options: ModelOptions) -> OpenedModel:
    if options.device != "cpu":
        raise EvaluationError(f"--device {options.device}: a bundle runs on the cpu; a checkpoint may not")
    if options.proposals is not None:
        raise EvaluationError("--proposals: a bundle's number is fixed; evaluate its checkpoint")
    try:
        from selsa_bundle.runtimes.choice import options_named
        from selsa_bundle.runtimes.load import load_engines
    except ImportError as error:
        raise EvaluationError(f"a bundle needs {error.name}: pip install 'selsa[export]'") from error
    asked = options_named(options.provider or "cpu", options.precision or "fp32", threads=options.threads)
    loaded = load_engines(folder, asked)
    manifest, info = loaded.manifest, loaded.engines.info
    about = {
        "kind": "bundle",
        "name": manifest.name,
        # The report becomes part of the bundle, so its checksum is that of the bundle without a report.
        "digest_without_evaluation": manifest.model_copy(update={"evaluation": None}).digest(),
        "engines": {name: file.sha256 for name, file in manifest.engines[loaded.variant].items()},
        "checkpoint_sha256": manifest.provenance.checkpoint_sha256,
        "provider": info.provider,
        "precision": info.precision,
    }
    return OpenedModel(
        classes=manifest.classes,
        preprocess=manifest.preprocess,
        reference_frames=manifest.reference_frames,
        engines=loaded.engines,
        bundle=folder,
        about=about,
    )
