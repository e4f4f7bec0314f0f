"""Transform a stored frame into a training frame, with optional augmentation."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from selsa_bundle.preprocess import Preprocess
from selsa_training.data.records import FrameObjects

# An object of which less than this share stays in view is neither to be learned nor to be counted as missed.
LEAST_IN_VIEW: Final = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far samples are changed at random. The published recipe changes nothing.

    Attributes:
        scale: frames are zoomed by a factor from 1 / (1 + scale) to 1 + scale. Zooming in crops at a random
            place; zooming out leaves a black margin.
        colour: brightness, contrast and each colour channel are changed by up to this share.
    """

    scale: float = 0.0
    colour: float = 0.0

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return self.scale > 0 or self.colour > 0


@dataclass(frozen=True, slots=True)
class FrameChange:
    """The change of all frames of one sample, as if another camera had filmed it.

    Attributes:
        zoom: size of objects, new / old.
        offset: where the old upper left corner comes to lie, in shares of (width, height).
        gain: factor of each channel R, G, B.
        lift: added to all channels, in grey levels.
    """

    zoom: float
    offset: tuple[float, float]
    gain: tuple[float, float, float]
    lift: float


def draw_change(augmentation: Augmentation, random: np.random.Generator) -> FrameChange:
    """A change within the limits of `augmentation`."""
    most = np.log1p(augmentation.scale)
    zoom = float(np.exp(random.uniform(-most, most)))
    # Zoomed in, the frame stays filled; zoomed out, all of it stays in view.
    x, y = (float(value) for value in random.random(2) * (1 - zoom))
    contrast, brightness = random.uniform(-1, 1, 2) * augmentation.colour
    red, green, blue = ((1 + random.uniform(-0.5, 0.5, 3) * augmentation.colour) * (1 + contrast)).tolist()
    return FrameChange(zoom, (x, y), (red, green, blue), float(128 * (brightness - contrast)))


def changed(
    frame: npt.NDArray[np.uint8], objects: FrameObjects, change: FrameChange
) -> tuple[npt.NDArray[np.uint8], FrameObjects]:
    """A frame, uint8 [h, w, 3], and its objects after a change; objects that leave the frame are left out."""
    height, width = frame.shape[:2]
    x, y = change.offset[0] * width, change.offset[1] * height
    # cv2 takes whole numbers for the centres of pixels; boxes count from their edges.
    centre = (change.zoom - 1) / 2
    matrix = np.array([[change.zoom, 0, x + centre], [0, change.zoom, y + centre]])
    moved = cv2.warpAffine(frame, matrix, (width, height), flags=cv2.INTER_LINEAR)
    levels = np.arange(256)[:, None] * np.array(change.gain) + change.lift
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None]
    pixels: npt.NDArray[np.uint8] = cv2.LUT(moved, table).astype(np.uint8, copy=False)
    whole = objects.boxes * np.float32(change.zoom) + np.array([x, y, x, y], np.float32)
    boxes = np.clip(whole, 0, np.array([width, height, width, height], np.float32))
    kept = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(axis=1)
    in_view = _areas(boxes) / np.maximum(_areas(whole), 1e-6)
    return pixels, FrameObjects(
        objects.index[kept],
        boxes[kept].astype(np.float32),
        objects.labels[kept],
        objects.tracks[kept],
        objects.ignored[kept] | (in_view[kept] < LEAST_IN_VIEW),
    )


def _areas(boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    sides = boxes[:, 2:] - boxes[:, :2]
    return sides[:, 0] * sides[:, 1]


@dataclass(frozen=True, slots=True)
class TrainingFrame:
    """One frame and its objects. N objects.

    Attributes:
        pixels: uint8 [H, W, 3], RGB, resized, mirrored if asked, padded with zeros right and below.
        image_size: (height, width) without the padding.
        scale_factor: (x, y), resized size / stored size.
        boxes: float32 [N, 4], xyxy in pixels of the resized (and mirrored) frame.
        labels: int64 [N].
        ignored: bool [N].
    """

    pixels: npt.NDArray[np.uint8]
    image_size: tuple[int, int]
    scale_factor: tuple[float, float]
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    ignored: npt.NDArray[np.bool_]


def prepare_frame(
    frame: npt.NDArray[np.uint8], objects: FrameObjects, preprocess: Preprocess, *, flip: bool
) -> TrainingFrame:
    """Resize as at test time, mirror and pad; boxes are transformed too and clipped to the image.

    The published order is resize, mirror, normalise, pad. The detector normalises (`SelsaDetector.normalise`,
    with the same `Preprocess`), so that only bytes are copied to the device.

    Args:
        frame: uint8 [h, w, 3], RGB, as stored.
        objects: its objects, in its pixels.
        preprocess: of the model's configuration.
        flip: mirror left and right.
    """
    prepared = preprocess.prepare(frame)
    height, width = prepared.image_size
    scale = np.asarray([*prepared.scale_factor] * 2, np.float32)
    boxes = objects.boxes * scale
    boxes = np.clip(boxes, 0, np.asarray([width, height, width, height], np.float32))
    if flip:
        inside = prepared.pixels[:height, :width]
        inside[:] = inside[:, ::-1].copy()
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
    return TrainingFrame(
        prepared.pixels,
        prepared.image_size,
        prepared.scale_factor,
        boxes.astype(np.float32),
        objects.labels,
        objects.ignored,
    )
