"""From a stored frame to a training frame."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from selsa_bundle.preprocess import Preprocess
from selsa_training.data.records import FrameObjects


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
    """Resize as at test time, mirror, pad; boxes follow, clipped to the image.

    The order is the published one: resize, mirror, normalise, pad. Normalising is the detector's
    (`SelsaDetector.normalise`, from the same `Preprocess`), so that what travels to the device is bytes.

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
