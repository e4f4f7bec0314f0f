"""From decoded frames to RGB pixels as displayed."""

import struct
from dataclasses import dataclass
from typing import Any, Final

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from selsa_bundle.preprocess import Preprocess

TURNS: Final = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
MATRIX: Final = struct.Struct("=9i")


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a stored picture is displayed: turned clockwise first, then mirrored.

    Attributes:
        rotation: degrees: 0, 90, 180 or 270.
        mirrored: whether left and right are exchanged after that.
    """

    rotation: int = 0
    mirrored: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> "Orientation":
        """What the display matrix of the container, or of the bitstream (SEI), says.

        `VideoFrame.rotation` is an angle alone and hides mirroring, hence the matrix itself: x' = a x + c y,
        y' = b x + d y, with y down. Other angles are rounded to the nearest right angle.
        """
        # PyAV's stubs take the container for a mapping of texts; it is one of `SideData` by type.
        found: Any = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
        raw = b"" if found is None else bytes(found)
        if len(raw) < MATRIX.size:
            return UPRIGHT
        a, b, _, c, d, *_ = MATRIX.unpack(raw[: MATRIX.size])
        mirrored = a * d - b * c < 0
        # A mirrored matrix is one that turns, with the sign of x' changed.
        angle = np.degrees(np.arctan2(b, -a if mirrored else a)) if a or b else 0.0
        return cls(round(float(angle) / 90) * 90 % 360, mirrored)

    @property
    def swaps_sides(self) -> bool:
        """Whether width and height are exchanged."""
        return self.rotation in (90, 270)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height as displayed of a picture that is stored with these."""
        return (height, width) if self.swaps_sides else (width, height)

    def apply(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The picture as displayed: uint8 [h, w, 3]."""
        turned = cv2.rotate(pixels, TURNS[self.rotation]) if self.rotation else pixels
        return np.asarray(cv2.flip(turned, 1) if self.mirrored else turned, np.uint8)


UPRIGHT: Final = Orientation()


class Picture:
    """From decoded frames to RGB pixels as displayed.

    Bicubic and by way of BGR, because that is what OpenCV's VideoCapture does. The result is equal byte for
    byte, also for 10 bit video, for which swscale's direct conversion to RGB differs.

    Args:
        max_pixels: of a frame.
        preprocess: frames shrink to its `decoded_size`, where it names one; None: they keep their size.
    """

    def __init__(self, max_pixels: int, preprocess: Preprocess | None = None) -> None:
        self._max_pixels = max_pixels
        self._preprocess = preprocess
        self._reformatter = VideoReformatter()

    def pixels(self, frame: VideoFrame) -> npt.NDArray[np.uint8] | None:
        """uint8 [h, w, 3], or None if the frame is over the limit or in a format that has no way to RGB."""
        if frame.width * frame.height > self._max_pixels:
            return None
        orientation = Orientation.of(frame)
        if frame.interlaced_frame:
            frame = _as_progressive(frame)
        try:
            rgb = self._rgb(frame)
        except (av.FFmpegError, ValueError):
            return None
        return orientation.apply(rgb)

    def source_size(self, frame: VideoFrame) -> tuple[int, int] | None:
        """(height, width) as displayed of a frame that `pixels` shrinks; None: it does not shrink it."""
        if self._decoded_size(frame) is None:
            return None
        width, height = Orientation.of(frame).size(frame.width, frame.height)
        return height, width

    def _decoded_size(self, frame: VideoFrame) -> tuple[int, int] | None:
        if self._preprocess is None:
            return None
        return self._preprocess.decoded_size(frame.height, frame.width)

    def _rgb(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        """uint8 [h, w, 3], as stored."""
        size = self._decoded_size(frame)
        if size is None:
            bgr = self._reformatter.reformat(
                frame, format="bgr24", interpolation=Interpolation.BICUBIC, threads=1
            ).to_ndarray()
            return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
        height, width = size
        # Planar, because for packed RGB swscale has one chroma value for two columns of the smaller picture.
        small = self._reformatter.reformat(
            frame, width=width, height=height, format="gbrp", interpolation=Interpolation.AREA, threads=1
        )
        return np.asarray(small.to_ndarray(), np.uint8)


def _as_progressive(frame: VideoFrame) -> VideoFrame:
    """A copy without the flag for interlaced frames.

    With the flag, swscale takes chroma from lines of the same field only. The ffmpeg command and players do
    not, whether they deinterlace or not.
    """
    copy = VideoFrame(frame.width, frame.height, frame.format.name)
    for to, of in zip(copy.planes, frame.planes, strict=True):
        width = min(to.line_size, of.line_size)
        lines = np.frombuffer(memoryview(of), np.uint8).reshape(-1, of.line_size)
        np.frombuffer(memoryview(to), np.uint8).reshape(-1, to.line_size)[:, :width] = lines[:, :width]
    copy.colorspace, copy.color_range = frame.colorspace, frame.color_range
    return copy
