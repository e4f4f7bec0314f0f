"""From a decoded frame to the frame engine's input: resize, then pad.

Normalisation is part of the frame engine, so a prepared frame is uint8 and a quarter of the size.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(gt=0, le=16384)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFrame:
    """One frame, ready for the frame engine.

    Attributes:
        pixels: uint8 [H, W, 3], RGB, resized, padded with zeros on the right and at the bottom.
        image_size: (height, width) of the resized frame inside `pixels`, in pixels.
        scale_factor: float32 (x, y), resized size divided by source size, per axis. The two differ slightly
            because each side is rounded on its own.
    """

    pixels: npt.NDArray[np.uint8]
    image_size: tuple[int, int]
    scale_factor: tuple[float, float]

    @property
    def picture(self) -> npt.NDArray[np.uint8]:
        """The pixels without padding, a view."""
        height, width = self.image_size
        return self.pixels[:height, :width]


class Preprocess(BaseModel):
    """The published test pipeline: keep the aspect ratio, fit into `long_side` x `short_side`, pad.

    Small frames are enlarged. Source: mmtracking's SELSA configurations, `Resize(img_scale=(1000, 600),
    keep_ratio=True)`, `Normalize`, `Pad(size_divisor=16)`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    long_side: PositiveInt = 1000
    short_side: PositiveInt = 600
    size_multiple: PositiveInt = 16
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    area_above: float | None = Field(
        default=None, gt=1, le=100, description="average areas where frames shrink by more than this factor"
    )
    area_by: Literal["ffmpeg"] | None = Field(
        default=None,
        description="what averages the areas of a decoded video frame: ffmpeg, together with the conversion "
        "to RGB; absent: OpenCV, after it",
    )

    def at_size(self, size: int) -> "Preprocess":
        """The same for frames whose long side is `size` pixels."""
        short = max(1, round(self.short_side * size / self.long_side))
        return self.model_copy(update={"long_side": size, "short_side": short})

    def resized_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) after resizing a frame of that size; both sides rounded half up in float64."""
        scale = min(
            self.long_side / max(height, width),
            self.short_side / min(height, width),
        )
        # An extreme aspect ratio (1 x 4000) would round its short side to nothing.
        return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) rounded up to the multiple the network's stride needs."""
        multiple = self.size_multiple
        return -(-height // multiple) * multiple, -(-width // multiple) * multiple

    def averages(self, height: int, width: int) -> bool:
        """Whether a frame of that size shrinks by averaging areas."""
        shrunk = max(self.resized_size(height, width))
        return self.area_above is not None and max(height, width) > self.area_above * shrunk

    def decoded_size(self, height: int, width: int) -> tuple[int, int] | None:
        """(height, width) to which a decoded video frame of that size shrinks as it becomes RGB, or None.

        Averaging the planes of a frame and converting few pixels takes less time than converting
        all pixels and averaging those. Both are linear, so the results differ by rounding.
        """
        if self.area_by is None or not self.averages(height, width):
            return None
        return self.resized_size(height, width)

    @property
    def largest_bytes(self) -> int:
        """Bytes of the pixels of the largest prepared frame that there can be."""
        height, width = self.padded_size(min(self.long_side, self.short_side), self.long_side)
        return height * width * 3

    def prepare(
        self, frame: npt.NDArray[np.uint8], source_size: tuple[int, int] | None = None
    ) -> PreparedFrame:
        """Resize and pad one frame.

        The resize is OpenCV's fixed-point bilinear one on uint8, which is not the rounded float result: that
        alone would move scores by up to 0.06. Where `area_above` is given and a frame shrinks by more than
        that, it is OpenCV's mean over areas, which does not alias.

        Args:
            frame: uint8 [h, w, 3], RGB, as displayed.
            source_size: (height, width) of a frame that shrank to its `decoded_size`; None: it did not.

        Raises:
            ValueError: the frame is not uint8 [h, w, 3] or has no pixels.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
            raise ValueError(f"frame must be uint8 [h, w, 3], got {frame.dtype} {list(frame.shape)}")
        source_h, source_w = source_size or frame.shape[:2]
        height, width = self.resized_size(source_h, source_w)
        padded_h, padded_w = self.padded_size(height, width)
        if source_size is None:
            # Imported here: manifests are read with this module before the engines load.
            import cv2

            how = cv2.INTER_AREA if self.averages(source_h, source_w) else cv2.INTER_LINEAR
            frame = np.asarray(cv2.resize(frame, (width, height), interpolation=how), np.uint8)
        pixels = np.zeros((padded_h, padded_w, 3), np.uint8)
        pixels[:height, :width] = frame
        scale = (float(np.float32(width / source_w)), float(np.float32(height / source_h)))
        return PreparedFrame(pixels=pixels, image_size=(height, width), scale_factor=scale)
