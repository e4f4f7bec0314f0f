"""Videos that give back exactly the pixels that went in."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt


def write_ffv1(path: Path, frames: Iterable[npt.NDArray[np.uint8]], rate: int = 25) -> Path:
    """RGB frames as FFV1 in Matroska, RGB all the way: no conversion to YUV, no loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.pix_fmt = "bgr0"
        stream.time_base = Fraction(1, rate)
        for i, pixels in enumerate(frames):
            if i == 0:
                stream.height, stream.width = pixels.shape[:2]
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="bgr0")
            frame.pts, frame.time_base = i, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
