"""Read images from disk, and frames of video files by the same calls.

`clip.mp4/000012` is frame 12 of `clip.mp4`.
"""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from selsa_training.data.errors import ImageError
from selsa_training.data.video_frames import frame_number, index_video, read_video_frame

_QUARTER_TURNS = {5, 6, 7, 8}
_ORIENTATION = 0x0112


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Decode an image or a frame: uint8 [h, w, 3], RGB, rotated by its EXIF orientation.

    Uses OpenCV's decoder, as the published pipeline does. Other JPEG decoders differ by about one grey level.

    Raises:
        ImageError: it is missing or cannot be decoded.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except NotADirectoryError:
        return read_video_frame(path)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}") from error
    # Empty input is an assertion failure in OpenCV instead of an empty result.
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise ImageError(f"{path}: the image cannot be decoded")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image).astype(np.uint8, copy=False)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) in pixels as `read_image` returns it, from the header alone.

    Raises:
        ImageError: it is missing or has no header of an image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _QUARTER_TURNS
    except NotADirectoryError:
        return _video_size(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: {_reason(error)}") from error
    return (width, height) if turned else (height, width)


def verify_image(path: Path) -> tuple[int, int]:
    """Decode an image completely; returns (height, width) as `read_image` does.

    Uses Pillow, because OpenCV fills the missing part of a truncated JPEG with grey and reports no error.

    Raises:
        ImageError: it is missing, truncated, or not an image.
    """
    size = image_size(path)
    try:
        with Image.open(path) as image:
            image.load()
    except NotADirectoryError:
        # Its index was made by decoding the video to its end.
        return size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: {_reason(error)}") from error
    if (found := read_image(path).shape[:2]) != size:
        raise ImageError(f"{path}: decodes to {found[1]}x{found[0]}, its header says {size[1]}x{size[0]}")
    return size


def _video_size(path: Path) -> tuple[int, int]:
    index = index_video(path.parent)
    if frame_number(path) >= index.count:
        raise ImageError(f"{path}: {path.parent.name} has {index.count} frames, from 0")
    return index.size


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__
