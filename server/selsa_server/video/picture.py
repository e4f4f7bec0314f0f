"""From decoded frames to RGB pixels as displayed."""

from typing import Final

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from selsa_server.video.index import clockwise_rotation

TURNS: Final = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Picture:
    """From decoded frames to RGB pixels as displayed.

    Bicubic and by way of BGR, because that is what OpenCV's VideoCapture does: the result is the same to the
    byte, for 10 bit too, where swscale's direct way to RGB differs.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._reformatter = VideoReformatter()

    def pixels(self, frame: VideoFrame) -> npt.NDArray[np.uint8] | None:
        """uint8 [h, w, 3], or None if the frame is over the limit or in a format that has no way to RGB."""
        if frame.width * frame.height > self._max_pixels:
            return None
        try:
            bgr = self._reformatter.reformat(
                frame, format="bgr24", interpolation=Interpolation.BICUBIC, threads=1
            ).to_ndarray()
        except (av.FFmpegError, ValueError):
            return None
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        rotation = clockwise_rotation(frame)
        turned = cv2.rotate(rgb, TURNS[rotation]) if rotation else rgb
        return np.asarray(turned, np.uint8)
