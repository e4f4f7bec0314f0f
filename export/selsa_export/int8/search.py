"""Choose the blocks that become int8: all of them, less the most harmful ones until the bounds hold.

Then the most expensive of those are tried in int8 again: a block that changes the features most need not be
one that changes detections.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from selsa_bundle.engine import FrameBatch
from selsa_bundle.family import Family
from selsa_bundle.gate.agreement import compare_proposals
from selsa_bundle.precision_report import Bounds, DetectionAgreement, KeptLayers
from selsa_bundle.preprocess import PreparedFrame
from selsa_export.errors import ExportError
from selsa_export.int8.graph import quantize_graph, tensors_to_calibrate
from selsa_export.int8.layers import Layer, layers_of
from selsa_export.int8.ranges import Calibration, calibrate

# The damage of one block only ranks it, so a few frames are enough.
DAMAGE_FRAMES = 2
PARTNER_IOU = 0.5
MOST_TRIES = 6


@dataclass(frozen=True, slots=True)
class QuantizedModel:
    """A frame engine in int8, and the damage that each of its blocks does."""

    model: Any
    layers: tuple[KeptLayers, ...]


def quantize_until(
    model: Any,
    frames: Sequence[PreparedFrame],
    agreement: Callable[[Any], DetectionAgreement],
    bounds: Bounds,
    family: Family,
    say: Callable[[str], None],
) -> QuantizedModel:
    """Quantise a frame engine.

    First each block alone, to measure its effect on the features. Then all blocks: while the bounds do not
    hold, the fewest blocks with half of the remaining damage go back to fp32. Where the bounds hold then,
    each of those blocks, the most expensive first, becomes int8 again if they still hold. If the bounds never
    hold, or fp32 finds nothing to compare, all blocks are int8, and the report shows the difference.

    Args:
        model: the fp32 frame engine.
        frames: to calibrate on.
        agreement: from a quantised frame engine to its detections' agreement with fp32.

    Raises:
        ExportError: the graph has no layers by the names that this exporter gives.
    """
    layers = layers_of(model)
    if not layers:
        raise ExportError(
            "this bundle's frame engine was written by another version of selsa; int8 needs it exported again"
        )
    outputs = [layer.output for layer in layers]
    calibration = calibrate(model, tensors_to_calibrate(model, layers), outputs, frames, say)
    ranked = _damages(model, layers, calibration, frames[:DAMAGE_FRAMES], family, say)
    costs = _costs(layers, calibration)

    def graph(fp32: Sequence[str]) -> Any:
        nodes = [layer.node for layer in layers if layer.group not in fp32]
        return quantize_graph(model, nodes, calibration.ranges)

    def compare(fp32: Sequence[str]) -> DetectionAgreement:
        found = agreement(graph(fp32))
        say(f"int8, {len(fp32)} of {len(ranked)} blocks in fp32: {found.matched} of {found.compared} matched")
        return found

    kept = _cheapest(_enough(ranked, compare, bounds, say), costs, compare, bounds)
    return QuantizedModel(
        graph(kept),
        tuple(
            KeptLayers(
                group=group, damage=round(damage, 6), cost=round(costs[group], 6), kept_fp32=group in kept
            )
            for group, damage in ranked.items()
        ),
    )


Compare = Callable[[Sequence[str]], DetectionAgreement]


def _enough(
    damages: dict[str, float], compare: Compare, bounds: Bounds, say: Callable[[str], None]
) -> list[str]:
    """Blocks that, in fp32, make the bounds hold; none if no choice does."""
    kept: list[str] = []
    for _ in range(MOST_TRIES):
        found = compare(kept)
        if _holds(found, bounds):
            return kept
        if not found.compared:
            say("fp32 finds no object in these frames, so nothing can be compared: every block becomes int8")
            break
        kept += _worst([group for group in damages if group not in kept], damages)
        if len(kept) == len(damages):
            break
    return []


def _cheapest(kept: list[str], costs: dict[str, float], compare: Compare, bounds: Bounds) -> list[str]:
    """Those of `kept` without which the bounds do not hold; the most expensive are tried first."""
    for group in sorted(kept, key=lambda group: -costs[group]):
        fewer = [each for each in kept if each != group]
        if _holds(compare(fewer), bounds):
            kept = fewer
    return kept


def _holds(found: DetectionAgreement, bounds: Bounds) -> bool:
    return found.share >= bounds.matched and found.score_quantiles.get("0.95", 1.0) <= bounds.score_p95


def _worst(groups: Sequence[str], damages: dict[str, float]) -> list[str]:
    """The most harmful blocks that together have half of the damage. Squares of errors add up."""
    by_damage = sorted(groups, key=lambda group: -damages[group])
    total = sum(damages[group] ** 2 for group in groups)
    chosen: list[str] = []
    for group in by_damage:
        chosen.append(group)
        if sum(damages[name] ** 2 for name in chosen) >= total / 2:
            break
    return chosen


def _costs(layers: Sequence[Layer], calibration: Calibration) -> dict[str, float]:
    """Each block's share of all multiplications."""
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
    family: Family,
    say: Callable[[str], None],
) -> dict[str, float]:
    """The effect of each block alone on the features, in the order of the graph."""
    want = _features(model, frames)
    damages: dict[str, float] = {}
    groups = list(dict.fromkeys(layer.group for layer in layers))
    for number, group in enumerate(groups):
        nodes = [layer.node for layer in layers if layer.group == group]
        found = _features(quantize_graph(model, nodes, calibration.ranges), frames)
        damages[group] = float(np.mean([_damage(w, f, family) for w, f in zip(want, found, strict=True)]))
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


def _damage(want: FrameBatch, found: FrameBatch, family: Family) -> float:
    """Relative L2 of the bank's features of matched proposals, plus the share of unmatched ones."""
    compared = compare_proposals(want, found, PARTNER_IOU, family)
    total = max(compared.total, int(found.valid.sum()))
    if compared.unmatched == total:
        return 2.0
    off = [compared.features[feature.name] for feature in family.bank_features]
    return float(np.mean(off)) + compared.unmatched / total
