"""Translation of tensor names between this project and mmtracking."""

from typing import Final

# (name here, published name), both as dotted prefixes; `*` stands for the number of the stage.
PREFIXES: Final[tuple[tuple[str, str], ...]] = (
    ("backbone", "detector.backbone"),
    ("neck.conv", "detector.neck.convs.0.conv"),
    ("rpn.conv", "detector.rpn_head.rpn_conv"),
    ("rpn.objectness", "detector.rpn_head.rpn_cls"),
    ("rpn.deltas", "detector.rpn_head.rpn_reg"),
    ("head.stages.*.fc", "detector.roi_head.bbox_head.shared_fcs.*"),
    ("head.stages.*.attention.query", "detector.roi_head.bbox_head.aggregator.*.fc_embed"),
    ("head.stages.*.attention.key", "detector.roi_head.bbox_head.aggregator.*.ref_fc_embed"),
    ("head.stages.*.attention.value", "detector.roi_head.bbox_head.aggregator.*.ref_fc"),
    ("head.stages.*.attention.out", "detector.roi_head.bbox_head.aggregator.*.fc"),
    ("predictor.classes", "detector.roi_head.bbox_head.fc_cls"),
    ("predictor.deltas", "detector.roi_head.bbox_head.fc_reg"),
)


def published_name(name: str) -> str:
    """The published name of a tensor of this project.

    Raises:
        KeyError: no tensor of this project has the name.
    """
    for ours, published in PREFIXES:
        translated = _translate(name, ours, published)
        if translated is not None:
            return translated
    raise KeyError(name)


def our_name(published: str) -> str | None:
    """The name in this project of a published tensor, or None if a SELSA model has no such tensor."""
    for ours, theirs in PREFIXES:
        translated = _translate(published, theirs, ours)
        if translated is not None:
            return translated
    return None


def _translate(name: str, source: str, target: str) -> str | None:
    """`name` with the prefix `source` replaced by `target`; None if the name does not have the prefix."""
    wanted, parts = source.split("."), name.split(".")
    if len(parts) <= len(wanted):
        return None
    stage = ""
    for want, part in zip(wanted, parts, strict=False):
        if want == "*" and part.isascii() and part.isdecimal():
            stage = part
        elif want != part:
            return None
    return ".".join([target.replace("*", stage), *parts[len(wanted) :]])
