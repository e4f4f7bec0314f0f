"""A contact sheet: evenly chosen frames of a video with their detections, in a grid, the time under each."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from selsa_bundle.references import spread_references
from selsa_server.errors import VideoError
from selsa_server.render.drawing import (
    draw_caption,
    draw_detections,
    drawn_score,
    model_caption,
    put_text,
    text_size,
)
from selsa_server.render.frames import FramesAgain
from selsa_server.schema.detect import Box, Detection, DetectParams, FrameRecord, SummaryRecord, VideoRecord
from selsa_server.schema.resolved import resolving
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video
from selsa_server.video.selection import select_frames

Pixels = npt.NDArray[np.uint8]
Draw = Callable[[VideoRecord | FrameRecord | SummaryRecord], None]

FRAMES: Final = 12
LONG_SIDE: Final = 400
GAP: Final = 8
CAPTION: Final = 22
SCALE: Final = 0.45
PAPER: Final = 24
INK: Final = (225, 225, 225)


@contextmanager
def open_contact_sheet(
    source: Path, out: Path, params: DetectParams, *, limits: VideoLimits | None = None
) -> Iterator[Draw]:
    """A function that takes the records of `source` in order; `out`, a PNG, is written at the block's end.

    With tracks, the summary's aliases are applied first.

    Raises:
        ParameterError: `params` select no frame.
        VideoError: `source` is no video, or not the one that the records are of.
        OSError: `out` cannot be written.
    """
    index = index_video(source, limits or VideoLimits())
    keys = select_frames(index, params, 0).frames
    chosen = sorted({keys[place] for place in spread_references(len(keys), FRAMES)})
    sheet = ContactSheet(float(index.sample_aspect_ratio), drawn_score(params))
    with FramesAgain(source, index, chosen) as frames:

        def draw(record: VideoRecord | FrameRecord | SummaryRecord) -> None:
            if isinstance(record, VideoRecord):
                sheet.caption = model_caption(record.model)
            if isinstance(record, FrameRecord) and frames.wants(record):
                sheet.add(frames.of(record).pixels, record)

        with resolving(draw) as write:
            yield write
    out.write_bytes(sheet.png())


class ContactSheet:
    """Frames that were added, small: the memory is that of the sheet.

    Args:
        aspect: width of a pixel of the frames divided by its height; those of the sheet are square.
        least: lowest score that is drawn.

    Attributes:
        caption: the line below the frames; empty: none.
    """

    def __init__(self, aspect: float = 1.0, least: float = 0.0) -> None:
        self._aspect = aspect
        self._least = least
        self.caption = ""
        self._cells: list[tuple[Pixels, str]] = []

    def add(self, pixels: Pixels, record: FrameRecord) -> None:
        """Add a frame: uint8 [h, w, 3] RGB, as displayed, with the record's detections."""
        height, width = pixels.shape[:2]
        factor = LONG_SIDE / max(height, width * self._aspect)
        wide = factor * self._aspect
        size = (max(1, round(width * wide)), max(1, round(height * factor)))
        way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        small = np.ascontiguousarray(cv2.resize(pixels, size, interpolation=way), np.uint8)
        # Drawn when small, so that labels can be read.
        shown = [_scaled(each, wide, factor) for each in record.detections]
        draw_detections(small, shown, least=self._least)
        when = f"frame {record.index}" if record.time is None else _clock(record.time)
        self._cells.append((small, when))

    def png(self) -> bytes:
        """The sheet as a PNG file.

        Raises:
            VideoError: there is no frame.
        """
        _, encoded = cv2.imencode(".png", cv2.cvtColor(self.pixels(), cv2.COLOR_RGB2BGR))
        return encoded.tobytes()

    def pixels(self) -> Pixels:
        """uint8 [h, w, 3] RGB.

        Raises:
            VideoError: there is no frame.
        """
        if not self._cells:
            raise VideoError("undecodable", "There is no frame to draw on.")
        height = max(picture.shape[0] for picture, _ in self._cells)
        width = max(picture.shape[1] for picture, _ in self._cells)
        columns = _columns(len(self._cells), width, height)
        rows = math.ceil(len(self._cells) / columns)
        step_x, step_y = width + GAP, height + CAPTION + GAP
        footer = CAPTION if self.caption else 0
        sheet = np.full((rows * step_y + GAP + footer, columns * step_x + GAP, 3), PAPER, np.uint8)
        for place, (picture, when) in enumerate(self._cells):
            x, y = GAP + place % columns * step_x, GAP + place // columns * step_y
            left = x + (width - picture.shape[1]) // 2
            sheet[y : y + picture.shape[0], left : left + picture.shape[1]] = picture
            middle = x + (width - text_size(when, SCALE, 1)[0]) // 2
            put_text(sheet, when, (middle, y + height + CAPTION - 7), SCALE, INK, 1)
        if self.caption:
            draw_caption(sheet, self.caption)
        return sheet


def _columns(count: int, width: int, height: int) -> int:
    """As many as make the sheet about three wide to two high."""
    return min(count, max(1, round(math.sqrt(1.5 * count * (height + CAPTION) / width))))


def _scaled(found: Detection, wide: float, high: float) -> Detection:
    box = found.box
    corners = Box(x1=box.x1 * wide, y1=box.y1 * high, x2=box.x2 * wide, y2=box.y2 * high)
    return found.model_copy(update={"box": corners})


def _clock(seconds: float) -> str:
    """0:01.24, 1:02:03.50."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{start}:{rest // 100:02d}.{rest % 100:02d}"
