"""Open a video file with FFmpeg, without opening any other file or address that it names."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import av
from av.container import InputContainer

from selsa_bundle.video.elements import MAX_STREAMS
from selsa_bundle.video.mp4 import ContinuedFile, Mp4Claims

# Containers of one file. No hls, dash, concat, sdp, image sequences, pipes, subtitles or devices. A single
# JPEG or PNG is not accepted: `mjpeg` needs two pictures, `apng` its own chunk.
FORMATS: Final = (
    "apng,asf,av1,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,webm,mjpeg,mjpeg_2000,mov,mp4,mpeg,mpegts,"
    "mpegvideo,mxf,nut,obu,ogg,rm,vc1,wtv,yuv4mpegpipe"
)
JPEG: Final = b"\xff\xd8\xff"
JPEG_END: Final = b"\xff\xd9"
LARGE_PICTURE: Final = 8 << 20  # bytes


def opening_options(max_pixels: int) -> dict[str, str]:
    """FFmpeg's options for an untrusted container.

    Args:
        max_pixels: of a frame that is decoded to find out what the streams are.
    """
    return {
        "format_whitelist": FORMATS,
        "protocol_whitelist": "file",
        "max_pixels": str(max_pixels),
        "max_streams": str(MAX_STREAMS),
    }


@contextmanager
def opened(path: Path, claims: Mp4Claims, *, max_pixels: int) -> Iterator[InputContainer]:
    """The file at `path`, opened for reading.

    Args:
        claims: the result of `claims_of`.
        max_pixels: see `opening_options`.

    Raises:
        FFmpegError, ValueError, OverflowError: FFmpeg cannot open it.
    """
    options = opening_options(max_pixels)
    with ExitStack() as stack:
        # The prefix keeps a name with a colon from being read as an address.
        source: Any = f"file:{path.absolute()}"
        if claims.restarts:
            source = ContinuedFile(stack.enter_context(path.open("rb")))
        container = av.open(source, "r", _format(path), options=options, metadata_errors="replace")
        yield stack.enter_context(container)


def _format(path: Path) -> str | None:
    """The format of a file that FFmpeg would take for something else: pictures one after the other."""
    with path.open("rb") as file:
        if file.read(len(JPEG)) == JPEG and JPEG_END + JPEG in file.read(LARGE_PICTURE):
            return "mjpeg"
    return None
