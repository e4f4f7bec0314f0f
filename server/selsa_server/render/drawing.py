"""Detections drawn on pixels: boxes in the colour of their object or class, labels that can be read."""

import colorsys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from selsa_server.schema.detect import Box, Detection, DetectParams, ModelInfo

Pixels = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels; x2 and y2 lie outside

FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
# The height of a capital letter at scale 1, in pixels.
CAPITAL: Final = 21.0
LEAST_CAPITAL: Final = 7.0
MARGIN: Final = 3
# With steps of this share of the colour circle, no hue is close to an earlier one.
GOLDEN: Final = 0.6180339887
# OpenCV draws with coordinates of 16 bits, a few of them fraction; farther out nothing is visible.
FAR: Final = 1 << 14
MAX_NAME: Final = 40
# The score from which detections are drawn unless another one was asked for; the page shows the same.
DRAWN_SCORE: Final = 0.3
MAX_CAPTION: Final = 200
BAR: Final = (24, 24, 24)


@dataclass(frozen=True, slots=True)
class _Pen:
    """Widths and sizes that suit a picture.

    Attributes:
        line: width of a box's line, pixels.
        scale: of the font.
        stroke: width of a letter's line, pixels.
    """

    line: int
    scale: float
    stroke: int

    @classmethod
    def of(cls, width: int, height: int) -> "_Pen":
        side = (width * height) ** 0.5
        capital = max(LEAST_CAPITAL, side / 80)
        return cls(max(1, round(side / 450)), capital / CAPITAL, max(1, round(capital / 9)))


def colour_of(found: Detection) -> Colour:
    """RGB; one for each object; for each class where there is no object."""
    return class_colour(found.class_id if found.track_id is None else found.track_id)


def class_colour(class_id: int) -> Colour:
    """RGB of a class: always the same, and distinct for neighbouring class numbers."""
    hue = (0.02 + class_id * GOLDEN) % 1.0
    saturation, value = ((0.85, 1.0), (0.65, 0.85), (1.0, 0.75))[class_id % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_detections(pixels: Pixels, detections: Sequence[Detection], *, least: float = 0.0) -> None:
    """Draw boxes with names and scores, the best on top.

    Args:
        pixels: uint8 [h, w, 3] RGB, contiguous; drawn on.
        detections: boxes in pixels of this picture; what lies outside is cut off.
        least: lowest score that is drawn.
    """
    height, width = pixels.shape[:2]
    pen = _Pen.of(width, height)
    best_first = sorted(
        (each for each in detections if each.score >= least and _is_seen(each.box, width, height)),
        key=lambda each: -each.score,
    )
    for each in reversed(best_first):
        x1, y1, x2, y2 = _corners(each.box)
        # Straight lines need no smoothing; it would only make thin ones pale.
        cv2.rectangle(pixels, (x1, y1), (x2 - 1, y2 - 1), colour_of(each), pen.line)
    taken: list[Rectangle] = []
    labels = []
    for each in best_first:
        text, scale = _fitting(_label(each), pen, width)
        place = _place(_corners(each.box), _label_size(text, scale, pen), (width, height), taken)
        taken.append(place)
        labels.append((text, scale, place, colour_of(each)))
    for text, scale, place, colour in reversed(labels):
        _draw_label(pixels, text, scale, place, colour, pen)


def drawn_score(params: DetectParams) -> float:
    """The lowest score that is drawn: the requested threshold, or `DRAWN_SCORE` if none was requested."""
    return params.score_threshold if "score_threshold" in params.model_fields_set else DRAWN_SCORE


def model_caption(model: ModelInfo) -> str:
    """The model in words for a drawing: its title, and its warning if it has one."""
    title = model.title or model.name
    return f"Model: {title}. {model.warning}" if model.warning else f"Model: {title}"


def draw_caption(pixels: Pixels, text: str) -> None:
    """Write one line at the bottom left, on a dark bar, shortened to the picture's width.

    Args:
        pixels: uint8 [h, w, 3] RGB, contiguous; drawn on.
        text: letters that the font does not have are left out.
    """
    height, width = pixels.shape[:2]
    pen = _Pen.of(width, height)
    scale = max(pen.scale * 0.75, LEAST_CAPITAL / CAPITAL)
    shown = _ascii(text)[:MAX_CAPTION]
    while shown and _label_size(shown, scale, pen)[0] > width:
        shown = shown[:-1]
    size = _label_size(shown, scale, pen)
    _draw_label(pixels, shown, scale, (0, height - size[1], size[0], height), BAR, pen)


def text_size(text: str, scale: float, stroke: int) -> tuple[int, int, int]:
    """Pixels: width, height above the base line, height below it."""
    (width, height), below = cv2.getTextSize(text, FONT, scale, stroke)
    return int(width), int(height), int(below)


def put_text(
    pixels: Pixels, text: str, corner: tuple[int, int], scale: float, colour: Colour, stroke: int
) -> None:
    """Write text whose base line begins at `corner` (x, y)."""
    cv2.putText(pixels, text, corner, FONT, scale, colour, stroke, cv2.LINE_AA)


def _is_seen(box: Box, width: int, height: int) -> bool:
    """Whether a part of the box lies in the picture; False if a corner is not finite."""
    finite = bool(np.isfinite((box.x1, box.y1, box.x2, box.y2)).all())
    return finite and box.x1 < width and box.y1 < height and box.x2 > 0 and box.y2 > 0


def _corners(box: Box) -> Rectangle:
    x1, y1, x2, y2 = (round(min(max(each, -FAR), FAR)) for each in (box.x1, box.y1, box.x2, box.y2))
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def _plain(found: Detection) -> str:
    """The class's name in the letters that the font has; its number if no letter is left."""
    return _ascii(found.class_name)[:MAX_NAME].strip() or f"class {found.class_id}"


def _ascii(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text[:1000]).encode("ascii", "ignore").decode()
    return "".join(each for each in letters if each.isprintable())


def _label(found: Detection) -> str:
    number = "" if found.track_id is None else f"#{found.track_id} "
    return f"{number}{_plain(found)} {found.score:.2f}"


def _fitting(text: str, pen: _Pen, width: int) -> tuple[str, float]:
    """Text and scale that fit into the picture: shrunk a little, then shortened to the score."""
    for shown in (text, text.rpartition(" ")[2]):
        for scale in (pen.scale, max(pen.scale * 0.75, LEAST_CAPITAL / CAPITAL)):
            if _label_size(shown, scale, pen)[0] <= width:
                return shown, scale
    return "", pen.scale


def _label_size(text: str, scale: float, pen: _Pen) -> tuple[int, int]:
    width, above, below = text_size(text, scale, pen.stroke)
    return width + 2 * MARGIN, above + below + MARGIN


def _place(
    box: Rectangle, size: tuple[int, int], picture: tuple[int, int], taken: Sequence[Rectangle]
) -> Rectangle:
    """Over the box, else inside it at the top, else under it: the first that is free; within the picture."""
    (x1, y1, _, y2), (width, height) = box, size
    x = max(0, min(x1, picture[0] - width))
    choices = [(x, y, x + width, y + height) for y in (y1 - height, y1, y2)]
    inside = [each for each in choices if each[1] >= 0 and each[3] <= picture[1]]
    for each in inside:
        if not any(_touch(each, other) for other in taken):
            return each
    if inside:
        return inside[0]
    y = max(0, min(y1, picture[1] - height))
    return x, y, x + width, y + height


def _touch(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _draw_label(pixels: Pixels, text: str, scale: float, place: Rectangle, colour: Colour, pen: _Pen) -> None:
    if not text:
        return
    x1, y1, x2, y2 = place
    cv2.rectangle(pixels, (x1, y1), (x2 - 1, y2 - 1), colour, cv2.FILLED)
    _, above, _ = text_size(text, scale, pen.stroke)
    # Rec. 601: how light the background looks.
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 130
    ink = (0, 0, 0) if light else (255, 255, 255)
    put_text(pixels, text, (x1 + MARGIN, y1 + above + (MARGIN + 1) // 2), scale, ink, pen.stroke)
