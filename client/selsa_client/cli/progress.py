"""Progress on a terminal: a bar for the upload, then one for the frames."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import ceil

from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, VideoRecord


class Progress:
    """Receives the progress of one video. This base shows nothing."""

    def upload(self, sent: int, total: int | None) -> None:
        """`sent` bytes have been sent, of `total` if that is known."""

    def record(self, record: StreamRecord) -> None:
        """A record arrived."""

    def stop(self) -> None:
        """Remove the display."""


@contextmanager
def terminal_progress(params: DetectParams, label: str, *, show_frames: bool) -> Iterator[Progress]:
    """Bars on stderr that disappear at the end; `label` names the video if there are several.

    `show_frames` is False if the records go to the same terminal, so that no bar is needed.
    """
    shown = _TerminalProgress(params, label, show_frames=show_frames)
    try:
        yield shown
    finally:
        shown.stop()


class _TerminalProgress(Progress):
    def __init__(self, params: DetectParams, label: str, *, show_frames: bool) -> None:
        # Importing rich takes longer than sending a short video, and only a terminal needs it.
        from rich import progress as bars
        from rich.console import Console
        from rich.markup import escape

        ends = (bars.TextColumn("{task.description}"), bars.BarColumn())
        console = Console(stderr=True)
        self._sending = bars.Progress(
            *ends,
            bars.DownloadColumn(),
            bars.TransferSpeedColumn(),
            bars.TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._detecting = bars.Progress(
            *ends,
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[rate]}"),
            bars.TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        # A file name may contain rich markup.
        self._label = f"{escape(label)}: " if label else ""
        self._upload = self._sending.add_task(f"{self._label}sending", total=None)
        self._frames = self._detecting.add_task(f"{self._label}detecting", total=None, rate="")
        self._params = params
        self._show_frames = show_frames
        self._emitted = 0
        self._began = 0.0

    def upload(self, sent: int, total: int | None) -> None:
        description = "waiting for the server" if sent == total else "sending"
        # rich shows one bar at a time. After a break the video is sent again, as a job.
        self._detecting.stop()
        self._sending.start()
        self._sending.update(
            self._upload, completed=sent, total=total, description=f"{self._label}{description}"
        )

    def record(self, record: StreamRecord) -> None:
        self._sending.stop()
        match record:
            case VideoRecord():
                self._began = time.monotonic()
                total = expected_frames(record, self._params)
                self._detecting.reset(self._frames, total=total, rate="", start=self._show_frames)
            case FrameRecord():
                self._emitted += 1
                rate = self._emitted / max(time.monotonic() - self._began, 1e-9)
                self._detecting.update(self._frames, advance=1, rate=f"{rate:.1f} frames/s")
        if self._show_frames and not isinstance(record, SummaryRecord):
            self._detecting.start()

    def stop(self) -> None:
        self._sending.stop()
        self._detecting.stop()


def expected_frames(video: VideoRecord, params: DetectParams) -> int | None:
    """Approximate number of frame records; exact without `start` and `end` if no frame is damaged."""
    if video.frame_count is None or video.duration is None:
        return None
    share = 1.0
    if video.duration > 0:
        end = video.duration if params.end is None else min(params.end, video.duration)
        share = max(0.0, end - (params.start or 0.0)) / video.duration
    step = params.stride if params.fill == "none" else 1
    return ceil(Fraction(round(video.frame_count * share), step))
