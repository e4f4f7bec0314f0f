"""Which blocks become int8: all of them, less those that measurably hurt most, until the bounds hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from selsa_bundle.engine import FrameBatch
from selsa_bundle.gate.agreement import box_iou, match_boxes
from selsa_bundle.precision_report import Bounds, DetectionAgreement, KeptLayers
from selsa_bundle.preprocess import PreparedFrame
from selsa_export.errors import PrecisionError
from selsa_export.int8.graph import quantize_graph, tensors_to_calibrate
from selsa_export.int8.layers import Layer, layers_of
from selsa_export.int8.ranges import Calibration, calibrate

# Frames that the damage of one block is measured on: it is ranked by it, not judged.
DAMAGE_FRAMES = 2
PARTNER_IOU = 0.5
MOST_TRIES = 6


@dataclass(frozen=True, slots=True)
class QuantizedModel:
    """A frame engine in int8, and what was found on the way."""

    model: Any
    layers: tuple[KeptLayers, ...]


def quantize_until(
    model: Any,
    frames: Sequence[PreparedFrame],
    agreement: Callable[[Any], DetectionAgreement],
    bounds: Bounds,
    say: Callable[[str], None],
) -> QuantizedModel:
    """Quantise a frame engine.

    First each block alone, which says what it does to the features. Then all of them; while the bounds do not
    hold, the half of the damage that is left in the fewest blocks goes back to fp32. Where nothing helps, all
    blocks are int8 after all: slow and wrong serves nobody, and the report tells how far it is off.

    Args:
        model: the fp32 frame engine.
        frames: to calibrate on.
        agreement: from a quantised frame engine to its detections' agreement with fp32.
        bounds: what must hold.
        say: told of every step.

    Raises:
        PrecisionError: the graph has no layers by the names that this exporter gives.
    """
    layers = layers_of(model)
    if not layers:
        raise PrecisionError(
            "this bundle's frame engine was written by another version of selsa; int8 needs it exported again"
        )
    outputs = [layer.output for layer in layers]
    calibration = calibrate(model, tensors_to_calibrate(model, layers), outputs, frames, say)
    ranked = _damages(model, layers, calibration, frames[:DAMAGE_FRAMES], say)
    costs = _costs(layers, calibration)
    kept: list[str] = []
    for _ in range(MOST_TRIES):
        nodes = [layer.node for layer in layers if layer.group not in kept]
        quantized = quantize_graph(model, nodes, calibration.ranges)
        found = agreement(quantized)
        say(f"int8, {len(kept)} of {len(ranked)} blocks in fp32: {found.matched} of {found.compared} matched")
        if _holds(found, bounds):
            break
        kept += _worst([group for group in ranked if group not in kept], ranked)
        if found.compared == 0 or len(kept) == len(ranked):
            break
    if not _holds(found, bounds):
        kept = []
        quantized = quantize_graph(model, [layer.node for layer in layers], calibration.ranges)
    return QuantizedModel(
        quantized,
        tuple(
            KeptLayers(
                group=group, damage=round(damage, 6), cost=round(costs[group], 6), kept_fp32=group in kept
            )
            for group, damage in ranked.items()
        ),
    )


def _holds(found: DetectionAgreement, bounds: Bounds) -> bool:
    return found.share >= bounds.matched and found.score_quantiles.get("0.95", 1.0) <= bounds.score_p95


def _worst(groups: Sequence[str], damages: dict[str, float]) -> list[str]:
    """The blocks with the most damage that together have half of it. Errors add up as their squares do."""
    by_damage = sorted(groups, key=lambda group: -damages[group])
    total = sum(damages[group] ** 2 for group in groups)
    chosen: list[str] = []
    for group in by_damage:
        chosen.append(group)
        if sum(damages[name] ** 2 for name in chosen) >= total / 2:
            break
    return chosen


def _costs(layers: Sequence[Layer], calibration: Calibration) -> dict[str, float]:
    """Share of all multiplications, by block."""
    work = {layer.node: calibration.sizes[layer.output] * layer.weights_per_output for layer in layers}
    total = sum(work.values())
    costs: dict[str, float] = {}
    for layer in layers:
        costs[layer.group] = costs.get(layer.group, 0.0) + work[layer.node] / total
    return costs


def _damages(
    model: Any,
    layers: Sequence[Layer],
    calibration: Calibration,
    frames: Sequence[PreparedFrame],
    say: Callable[[str], None],
) -> dict[str, float]:
    """What each block alone in int8 does to the features, in the order of the graph."""
    want = _features(model, frames)
    damages: dict[str, float] = {}
    groups = list(dict.fromkeys(layer.group for layer in layers))
    for number, group in enumerate(groups):
        nodes = [layer.node for layer in layers if layer.group == group]
        found = _features(quantize_graph(model, nodes, calibration.ranges), frames)
        damages[group] = float(np.mean([_damage(w, f) for w, f in zip(want, found, strict=True)]))
        say(f"block {number + 1} of {len(groups)}, {group}: damage {damages[group]:.4f}")
    return damages


def _features(model: Any, frames: Sequence[PreparedFrame]) -> list[FrameBatch]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = []
    for frame in frames:
        feeds = {"frames": frame.pixels[None], "image_size": np.array([frame.image_size], np.int64)}
        names = [node.name for node in session.get_outputs()]
        found.append(FrameBatch(**dict(zip(names, session.run(names, feeds), strict=True))))
    return found


def _damage(want: FrameBatch, found: FrameBatch) -> float:
    """Relative L2 of the memory of proposals that are in both, and the share of those that are not."""
    mine, theirs = np.flatnonzero(want.valid[0]), np.flatnonzero(found.valid[0])
    pairs = match_boxes(box_iou(want.boxes[0, mine], found.boxes[0, theirs]), PARTNER_IOU)
    if not pairs:
        return 2.0
    rows, others = mine[[i for i, _ in pairs]], theirs[[j for _, j in pairs]]
    memory = want.memory[0][:, :, rows]
    off = float(np.linalg.norm(memory - found.memory[0][:, :, others]) / np.linalg.norm(memory))
    return off + 1 - len(pairs) / max(len(mine), len(theirs))
