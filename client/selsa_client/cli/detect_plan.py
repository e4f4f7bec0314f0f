"""How one command detects on its videos: on a server, live or not, or on this machine."""

import signal
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

from selsa_client.cli.inputs import VideoInput
from selsa_client.cli.local import LocalPipeline
from selsa_client.cli.progress import Progress
from selsa_client.cli.remux import write_pictures
from selsa_client.http.protocol import DetectOptions, LiveOptions, check_server
from selsa_client.http.retries import Attempts, RetryPolicy
from selsa_client.http.upload import UploadSource, VideoSource
from selsa_client.http.web_video import WebVideo
from selsa_client.live.protocol import LiveFeed, live_start
from selsa_client.live.source import Endable
from selsa_client.wire.errors import BusyError, InputError, SelsaError
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import DetectParams


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectPlan:
    """The options of the command.

    Attributes:
        api_key: the key for the server, if it needs one.
        retries: how often a request is repeated if the server is busy or the connection breaks.
        live: as a live stream. A camera and an rtsp address always are.
        drop: whether a live stream drops frames that arrive too fast.
        server_downloads: whether the server downloads the videos, as jobs.
        local: the pipeline on this machine; None: use the server.
    """

    params: DetectParams
    server: str
    api_key: str | None
    retries: int
    live: bool
    drop: Literal["never", "oldest"]
    server_downloads: bool
    local: LocalPipeline | None

    def check(self, videos: Sequence[VideoInput]) -> None:
        """Refuse options that do not fit together.

        Raises:
            ValueError: they do not.
        """
        check_server(self.server)
        live = self.live or any(video.endless for video in videos)
        if live and not (self.params.start is self.params.end is None):
            raise ValueError("--start and --end are for files; a live stream has no known length")
        if self.live and any(video.kind == "pictures" for video in videos):
            raise ValueError("--live is for videos and cameras; pictures are a file")
        if self.drop != "never" and not live:
            raise ValueError("--drop is for live streams; no frame of a file needs to be dropped")
        if self.server_downloads:
            other = next((video for video in videos if video.kind != "web"), None)
            if other is not None:
                raise ValueError(f"--server-downloads is for http(s) addresses, not {other.name}")
            if self.live or self.local is not None:
                raise ValueError("--server-downloads cannot be used with --live or --local")

    def records(self, video: VideoInput, shown: Progress) -> Generator[StreamRecord, None, None]:
        """The records of one video.

        Raises:
            SelsaError: see `Client.detect`, `Client.stream` and `LocalPipeline`.
        """
        if video.problem is not None:
            raise InputError(video.problem)
        if self.live or video.endless:
            yield from self._live(video)
        elif self.local is not None:
            with as_file(video) as path:
                yield from self.local.detect(path, self.params)
        elif self.server_downloads:
            yield from self._downloaded_by_server(video)
        else:
            yield from self._from_server(video, shown)

    def _from_server(self, video: VideoInput, shown: Progress) -> Generator[StreamRecord, None, None]:
        # Local detection needs no HTTP; httpx is half of the client's start-up time.
        from selsa_client.client import Client

        options = cast("DetectOptions", self.params.model_dump(exclude_defaults=True))
        with (
            Client(self.server, retries=self.retries, api_key=self.api_key) as client,
            _source(video) as source,
            client.detect(source, on_upload=shown.upload, **options) as stream,
        ):
            yield from stream.records()

    def _downloaded_by_server(self, video: VideoInput) -> Generator[StreamRecord, None, None]:
        from selsa_client.client import Client

        options = cast("DetectOptions", self.params.model_dump(exclude_defaults=True))
        with Client(self.server, retries=self.retries, api_key=self.api_key) as client:
            job = client.jobs.submit_url(video.address, **options)
            try:
                with client.jobs.results(job.id) as stream:
                    yield from stream.records()
            finally:
                # Cancels a job whose records are not wanted any more. If this fails, the server deletes the
                # job after `jobs_ttl`.
                with suppress(SelsaError):
                    client.jobs.cancel(job.id)

    def _live(self, video: VideoInput) -> Generator[StreamRecord, None, None]:
        from selsa_client.cli.live_feed import live_feed

        attempts = Attempts(RetryPolicy(retries=self.retries))
        while True:
            try:
                with live_feed(video, _source) as feed:
                    if self.local is None:
                        yield from self._live_from_server(video, feed)
                    else:
                        yield from self._live_locally(self.local, video, feed)
                return
            except BusyError as busy:  # raised before the first record
                if video.kind == "stdin":
                    raise
                delay = attempts.delay_after(busy)
            time.sleep(delay)

    def _live_from_server(self, video: VideoInput, feed: LiveFeed) -> Generator[StreamRecord, None, None]:
        from selsa_client.client import Client

        with (
            Client(self.server, api_key=self.api_key) as client,
            client.stream(feed.pieces, container=feed.container, **self._live_options()) as stream,
            first_interrupt(stream.end) if video.may_go_on else nullcontext(),
        ):
            yield from stream.records()

    def _live_locally(
        self, local: LocalPipeline, video: VideoInput, feed: LiveFeed
    ) -> Generator[StreamRecord, None, None]:
        start = live_start(feed.container, self._live_options())
        pieces = Endable(feed.pieces)
        with first_interrupt(pieces.end) if video.may_go_on else nullcontext():
            yield from local.stream(pieces.each(), start)

    def _live_options(self) -> LiveOptions:
        given = self.params.model_dump(exclude_defaults=True, exclude={"mode"})
        return cast("LiveOptions", {**given, "drop": self.drop})


@contextmanager
def _source(video: VideoInput) -> Iterator[VideoSource]:
    match video.kind:
        case "file":
            yield Path(video.address)
        case "stdin":
            yield _stdin()
        case "pictures":
            with as_file(video) as path:
                yield path
        case _:
            yield WebVideo(video.address)


def _stdin() -> IO[bytes]:
    try:
        # Unbuffered: the content of a pipe is passed on at once, and a read that never returns holds no lock
        # that the interpreter needs to exit.
        return open(0, "rb", buffering=0, closefd=False)
    except OSError as error:
        raise InputError(f"Cannot read stdin: {error.strerror or error}") from error


@contextmanager
def as_file(video: VideoInput) -> Iterator[Path]:
    """The path of the video; stdin, addresses and pictures are written to a temporary file."""
    if video.kind == "file":
        yield Path(video.address)
        return
    if video.kind == "pictures":
        with tempfile.NamedTemporaryFile(prefix="selsa-", suffix=".mov") as file:
            write_pictures(video.pictures, Path(file.name))
            yield Path(file.name)
        return
    with (
        _source(video) as source,
        UploadSource(source).attempt() as upload,
        tempfile.NamedTemporaryFile(prefix="selsa-") as file,
    ):
        for chunk in upload:
            file.write(chunk)
        file.flush()
        yield Path(file.name)


@contextmanager
def first_interrupt(end: Callable[[], None]) -> Iterator[None]:
    """Call `end` in a thread at the first Ctrl-C; the second one raises KeyboardInterrupt as usual."""
    before = signal.getsignal(signal.SIGINT)

    def ended() -> None:
        with suppress(Exception):  # the reader of the records gets the error
            end()

    def interrupted(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        # In a thread: the handler interrupts code that may hold a lock that `end` needs.
        threading.Thread(target=ended, daemon=True).start()

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
