"""What a person at a terminal sees while waiting: a bar for the upload, then one for the frames."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import ceil
from typing import Protocol

from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, VideoRecord


class Progress(Protocol):
    """Takes what happens, in order."""

    def upload(self, sent: int, total: int | None) -> None:
        """`sent` bytes have left, of `total` where that is known."""

    def record(self, record: StreamRecord) -> None:
        """A record arrived."""


@contextmanager
def no_progress() -> Iterator[Progress]:
    """Progress that shows nothing."""
    yield _NoProgress()


@contextmanager
def terminal_progress(params: DetectParams, label: str, *, show_frames: bool) -> Iterator[Progress]:
    """Bars on stderr that go away at the end; `label` says of which video, if that is not clear.

    `show_frames` is False when the records themselves go to the same terminal: they are progress enough.
    """
    shown = _TerminalProgress(params, label, show_frames=show_frames)
    try:
        yield shown
    finally:
        shown.stop()


class _NoProgress:
    def upload(self, sent: int, total: int | None) -> None:
        pass

    def record(self, record: StreamRecord) -> None:
        pass


class _TerminalProgress:
    def __init__(self, params: DetectParams, label: str, *, show_frames: bool) -> None:
        # rich takes longer to import than a short video takes to send; only a terminal needs it.
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
        # A name may hold what rich takes for markup.
        self._label = f"{escape(label)}: " if label else ""
        self._upload = self._sending.add_task(f"{self._label}sending", total=None)
        self._frames = self._detecting.add_task(f"{self._label}detecting", total=None, rate="")
        self._params = params
        self._show_frames = show_frames
        self._emitted = 0
        self._began = 0.0

    def upload(self, sent: int, total: int | None) -> None:
        description = "waiting for the server" if sent == total else "sending"
        # A terminal shows one of them at a time; what broke half way is sent again, as a job.
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
    """About how many frame records will come: exact without `start` and `end` on a sound video."""
    if video.frame_count is None or video.duration is None:
        return None
    share = 1.0
    if video.duration > 0:
        end = video.duration if params.end is None else min(params.end, video.duration)
        share = max(0.0, end - (params.start or 0.0)) / video.duration
    return ceil(Fraction(round(video.frame_count * share), params.stride))
