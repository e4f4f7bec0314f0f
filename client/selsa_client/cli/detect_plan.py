"""How one command detects on its videos: on a server, live or not, or on this machine."""

import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, cast

from selsa_client.cli.graceful_end import Endable, first_interrupt
from selsa_client.cli.inputs import VideoInput
from selsa_client.cli.local import detect_locally, stream_locally
from selsa_client.cli.progress import Progress
from selsa_client.http.patience import Patience, RetryPolicy
from selsa_client.http.protocol import DetectOptions, check_server
from selsa_client.http.upload import UploadSource, VideoSource
from selsa_client.http.web_video import WebVideo
from selsa_client.live.protocol import LiveOptions, live_start
from selsa_client.wire.errors import BusyError, InputError
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import DetectParams

if TYPE_CHECKING:
    from selsa_client.live.feed import LiveFeed


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectPlan:
    """What the options of the command say.

    Attributes:
        params: what is asked for.
        server: the server's address, unless `local`.
        api_key: the key that it knows the caller by, if it wants one.
        retries: how often a busy server is asked again, and what broke is tried again.
        live: as a live stream. A camera and an rtsp address always are one.
        drop: what a live stream does with frames that come too fast.
        local: on this machine, with `bundle` and `engines`.
        say: tells the person at the terminal a sentence.
    """

    params: DetectParams
    server: str
    api_key: str | None
    retries: int
    live: bool
    drop: Literal["never", "oldest"]
    local: bool
    bundle: Path | None
    engines: Mapping[str, str]
    say: Callable[[str], None]

    def check(self, videos: Sequence[VideoInput]) -> None:
        """Refuse what can only fail.

        Raises:
            ValueError: options that do not go together.
        """
        check_server(self.server)
        if not self.local and (self.bundle is not None or self.engines):
            name = "bundle" if self.bundle is not None else next(iter(self.engines))
            raise ValueError(f"--{name} is for --local; a server has its own")
        live = self.live or any(video.endless for video in videos)
        if live and not (self.params.start is self.params.end is None):
            raise ValueError("--start and --end are for files; a live stream is what comes")
        if self.drop != "never" and not live:
            raise ValueError("--drop is for live streams; a file waits")

    def records(self, video: VideoInput, shown: Progress) -> Generator[StreamRecord, None, None]:
        """The records of one video.

        Raises:
            SelsaError: see `Client.detect`, `Client.stream` and `detect_locally`.
        """
        if video.problem is not None:
            raise InputError(video.problem)
        if self.live or video.endless:
            yield from self._live(video)
        elif self.local:
            with as_file(video) as path:
                yield from detect_locally(
                    path, self.params, bundle=self.bundle, say=self.say, engines=self.engines
                )
        else:
            yield from self._from_server(video, shown)

    def _from_server(self, video: VideoInput, shown: Progress) -> Generator[StreamRecord, None, None]:
        # Detecting locally needs no HTTP; httpx is half of the client's start-up time.
        from selsa_client.client import Client

        options = cast("DetectOptions", self.params.model_dump(exclude_defaults=True))
        with (
            Client(self.server, retries=self.retries, api_key=self.api_key) as client,
            _source(video) as source,
            client.detect(source, on_upload=shown.upload, **options) as stream,
        ):
            yield from stream.records()

    def _live(self, video: VideoInput) -> Generator[StreamRecord, None, None]:
        from selsa_client.cli.live_feed import live_feed

        patience = Patience(RetryPolicy(retries=self.retries))
        detect = self._live_locally if self.local else self._live_from_server
        while True:
            try:
                with live_feed(video, _source) as feed:
                    yield from detect(video, feed)
                return
            except BusyError as busy:  # said before the first record
                if video.kind == "stdin":
                    raise
                delay = patience.wait(busy)
            time.sleep(delay)

    def _live_from_server(self, video: VideoInput, feed: "LiveFeed") -> Generator[StreamRecord, None, None]:
        from selsa_client.client import Client

        with (
            Client(self.server, api_key=self.api_key) as client,
            client.stream(feed.pieces, container=feed.container, **self._live_options()) as stream,
            first_interrupt(stream.end) if video.may_go_on else nullcontext(),
        ):
            yield from stream.records()

    def _live_locally(self, video: VideoInput, feed: "LiveFeed") -> Generator[StreamRecord, None, None]:
        start = live_start(feed.container, self._live_options())
        pieces = Endable(feed.pieces)
        with first_interrupt(pieces.end) if video.may_go_on else nullcontext():
            yield from stream_locally(
                pieces.each(), start, bundle=self.bundle, say=self.say, engines=self.engines
            )

    def _live_options(self) -> LiveOptions:
        given = self.params.model_dump(exclude_defaults=True, exclude={"mode"})
        return cast("LiveOptions", {**given, "drop": self.drop})


@contextmanager
def _source(video: VideoInput) -> Iterator[VideoSource]:
    match video.kind:
        case "file":
            yield Path(video.address)
        case "stdin":
            with _stdin() as file:
                yield file
        case _:
            yield WebVideo(video.address)


@contextmanager
def _stdin() -> Iterator[IO[bytes]]:
    try:
        # Unbuffered: what a pipe has is passed on, not waited for; and a read that never returns holds no
        # lock that the interpreter's end would wait for.
        file = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - there is no path
    except OSError as error:
        raise InputError(f"Cannot read stdin: {error.strerror or error}") from error
    yield file


@contextmanager
def as_file(video: VideoInput) -> Iterator[Path]:
    """A file with the video; what has none is written to a temporary one."""
    if video.kind == "file":
        yield Path(video.address)
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
