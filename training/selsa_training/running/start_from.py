"""Start a training from the weights of another model: tensors by name, classes by their names."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from selsa_bundle.contract import EngineName
from selsa_bundle.default_bundle import bundle_folder
from selsa_bundle.files.stored_file import sha256_of
from selsa_bundle.manifest import MANIFEST_NAME as BUNDLE_MARKER
from selsa_bundle.manifest import Manifest
from selsa_training.checkpoint.checkpoint import MANIFEST_NAME as CHECKPOINT_MARKER
from selsa_training.checkpoint.checkpoint import load_checkpoint
from selsa_training.model.detector import SelsaDetector
from selsa_training.model.tensor_shapes import is_counter
from selsa_training.published.import_published import import_published
from selsa_training.recipe.errors import TrainingError
from selsa_training.running.run_folder import CHECKPOINT as IN_A_RUN

ENGINES: Final[tuple[EngineName, ...]] = ("frame", "sequence")
CLASSES: Final = ("predictor.classes.weight", "predictor.classes.bias")
DELTAS: Final = ("predictor.deltas.weight", "predictor.deltas.bias")


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingWeights:
    """Weights to start from.

    Attributes:
        described: the source, for the log.
        sha256: of the file that the tensors are from.
        tensors: our name -> tensor.
        folded: batch normalisation is folded into the convolutions, as in a bundle. A training from such
            weights must keep the statistics of its norms.
    """

    described: str
    sha256: str
    classes: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Transfer:
    """The result of `start_from`: what a model took from other weights.

    Attributes:
        taken: names of tensors that were copied whole.
        classes_taken: classes whose rows of the predictor were copied.
        classes_new: classes whose rows stay as initialised.
        initialised: the model's other tensors, which stay as initialised.
        left_out: the source's tensors that the model does not use, with the reason.
    """

    taken: tuple[str, ...]
    classes_taken: tuple[str, ...]
    classes_new: tuple[str, ...]
    initialised: tuple[str, ...]
    left_out: tuple[str, ...]

    def lines(self) -> list[str]:
        """The transfer as text for people."""
        return [
            f"{len(self.taken)} tensors taken, {len(self.classes_taken)} classes matched by name"
            + _listed(self.classes_taken),
            f"{len(self.classes_new)} classes initialised" + _listed(self.classes_new),
            f"{len(self.initialised)} tensors initialised" + _listed(self.initialised),
            f"{len(self.left_out)} tensors of the source left out" + _listed(self.left_out),
        ]

    def as_dict(self) -> dict[str, Any]:
        """For the log."""
        return {
            "taken": len(self.taken),
            "classes_taken": list(self.classes_taken),
            "classes_new": list(self.classes_new),
            "initialised": list(self.initialised),
            "left_out": list(self.left_out),
        }


def read_weights(path: Path) -> StartingWeights:
    """Read a checkpoint, the checkpoint of a training run, a .pth file of mmtracking, or a bundle's weights.

    `synthetic` names the packaged bundle of that name, unless a folder has it.

    Raises:
        TrainingError: it is none of them, or the bundle's graphs hold no named weights.
        CheckpointError: the checkpoint or .pth file is damaged.
        BundleError: the bundle is damaged.
    """
    path = bundle_folder(path)
    if path.suffix == ".pth":
        config, tensors, origin, _ = import_published(path)
        return StartingWeights(
            described=origin, sha256=sha256_of(path), classes=config.classes, tensors=tensors
        )
    for folder in (path, path / IN_A_RUN):
        if (folder / CHECKPOINT_MARKER).is_file():
            found = load_checkpoint(folder)
            return StartingWeights(
                described=f"checkpoint {folder.name}: {found.origin}",
                sha256=found.sha256,
                classes=found.config.classes,
                tensors=found.tensors,
            )
    if (path / BUNDLE_MARKER).is_file():
        return _of_bundle(path)
    raise TrainingError(
        f"--from {path} is none of these: a checkpoint (with {CHECKPOINT_MARKER}), a training run (with "
        f"{IN_A_RUN}/{CHECKPOINT_MARKER}), a bundle ({BUNDLE_MARKER}), a .pth file of mmtracking, `synthetic`"
    )


def start_from(detector: SelsaDetector, source: StartingWeights) -> Transfer:
    """Copy the tensors that fit into a detector with freshly initialised weights.

    A tensor fits if name and shape are equal. The predictor's rows are copied class by class, by name.

    Raises:
        TrainingError: a tensor of the backbone does not fit: the model has another architecture.
    """
    source_tensors = _without_folded_norm(detector, source.tensors) if source.folded else source.tensors
    own, classes = detector.state_dict(), detector.config.classes
    predictor = {*CLASSES, *DELTAS}
    taken = [n for n, t in own.items() if n not in predictor and _fits(source_tensors.get(n), t)]
    for name in taken:
        own[name].copy_(source_tensors[name])
    rows = {name: source.classes.index(name) for name in classes if name in source.classes}
    fitting = all(
        name in source_tensors and source_tensors[name].shape[1:] == own[name].shape[1:] for name in predictor
    )
    if not fitting:
        rows = {}
    else:
        _copy_classes(own, source_tensors, classes, rows, len(source.classes))
    initialised = [n for n in own if n not in predictor and n not in taken and not is_counter(n)]
    if odd := [name for name in initialised if name.startswith("backbone.")]:
        raise TrainingError(
            f"--from: {source.described[:200]}: {len(odd)} backbone tensors do not fit "
            f"{detector.config.backbone}, the first is {odd[0]}: name a recipe of the same architecture"
        )
    left_out = [
        f"{name} ({'no such tensor' if name not in own else 'shape ' + str(list(tensor.shape))})"
        for name, tensor in source_tensors.items()
        if name not in taken and (name not in predictor or not fitting)
    ]
    left_out += [f"class {name!r}" for name in source.classes if name not in rows]
    return Transfer(
        tuple(taken),
        tuple(rows),
        tuple(name for name in classes if name not in rows),
        tuple(initialised),
        tuple(left_out),
    )


def _fits(theirs: Tensor | None, own: Tensor) -> bool:
    return theirs is not None and theirs.shape == own.shape


def _copy_classes(
    own: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
    classes: tuple[str, ...],
    rows: Mapping[str, int],
    source_classes: int,
) -> None:
    """Copy scores and box deltas of the matched classes, and the score of the background."""
    for name in CLASSES:
        own[name][len(classes)].copy_(source[name][source_classes])
        for label, class_name in enumerate(classes):
            if class_name in rows:
                own[name][label].copy_(source[name][rows[class_name]])
    for name in DELTAS:
        for label, class_name in enumerate(classes):
            if class_name in rows:
                first = 4 * rows[class_name]
                own[name][4 * label : 4 * label + 4].copy_(source[name][first : first + 4])


def _of_bundle(path: Path) -> StartingWeights:
    """The weights in a bundle's fp32 graphs, whose initialisers have the names of the model's parameters."""
    import onnx
    from onnx import numpy_helper

    manifest = Manifest.read(path)
    tensors: dict[str, Tensor] = {}
    for engine in ENGINES:
        file = manifest.engines["fp32"][engine]
        file.verify(path)
        graph = onnx.load(path / file.file).graph
        named = {i.name: i for i in graph.initializer if i.name.endswith((".weight", ".bias"))}
        tensors |= {name: torch.from_numpy(numpy_helper.to_array(i).copy()) for name, i in named.items()}
        if engine == "frame" and not any(node.op_type == "RoiAlign" for node in graph.node):
            first = "head.stages.0.fc.weight"
            if first in tensors and "neck.conv.bias" in tensors:
                tensors[first] = _in_published_order(tensors[first], len(tensors["neck.conv.bias"]))
    if "backbone.conv1.weight" not in tensors and "backbone.conv1.0.weight" not in tensors:
        raise TrainingError(f"--from {path}: the bundle's graphs hold no named weights; export it again")
    return StartingWeights(
        described=f"bundle {manifest.name}: {manifest.provenance.origin}",
        sha256=manifest.engines["fp32"]["frame"].sha256,
        classes=manifest.classes,
        tensors=tensors,
        folded=True,
    )


def _in_published_order(weight: Tensor, channels: int) -> Tensor:
    """Undo the exporter's order of RoI features (column, row, channel): [C, channels * row * column]."""
    size = round((weight.shape[1] // channels) ** 0.5)
    return weight.reshape(-1, size, size, channels).permute(0, 3, 2, 1).flatten(1).contiguous()


def _without_folded_norm(detector: SelsaDetector, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Restore the backbone's norms: each norm only adds the bias that its convolution has in the bundle."""
    found = dict(tensors)
    leaves = [(n, m) for n, m in detector.backbone.named_modules() if not list(m.children())]
    for (name, conv), (following, norm) in itertools.pairwise(leaves):
        bias = found.get(f"backbone.{name}.bias")
        if not (isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)) or bias is None:
            continue
        del found[f"backbone.{name}.bias"]
        prefix = f"backbone.{following}"
        found |= {
            f"{prefix}.weight": torch.ones_like(bias),
            f"{prefix}.bias": bias,
            f"{prefix}.running_mean": torch.zeros_like(bias),
            f"{prefix}.running_var": torch.full_like(bias, 1 - norm.eps),
        }
    return found


def _listed(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    more = f", and {len(names) - 8} more" if len(names) > 8 else ""
    return ": " + ", ".join(names[:8]) + more
