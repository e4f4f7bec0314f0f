"""Detection without a server, when the server extra is installed on this machine.

The pipeline is found by the entry points `detect` and `stream` of the group `selsa.local` and known by its
shape only.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

from selsa_client.cli.extras import MissingExtraError, needs_extra
from selsa_client.live.protocol import TimedImage
from selsa_client.wire.errors import DetectionFailedError, IncompleteError, InputError
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import DetectParams, ErrorRecord, SummaryRecord
from selsa_server.schema.problems import CodedError, error_record
from selsa_server.schema.stream import StreamStart

GROUP: Final = "selsa.local"
_COMMAND: Final = "detect --local"


class LocalRunner(Protocol):
    """What the entry point gives: the records of a video, in the order of the wire format.

    An expected failure raises a `CodedError`, or a `BundleError` when the bundle cannot be used.
    """

    def __call__(
        self,
        video: Path,
        params: DetectParams,
        *,
        bundle: Path | None,
        say: Callable[[str], None],
        engines: Mapping[str, str],
    ) -> Iterator[StreamRecord]:
        """Detect on `video` with the engines of `bundle`; None: the default, which `say` is told."""


def detect_locally(
    video: Path,
    params: DetectParams,
    *,
    bundle: Path | None,
    say: Callable[[str], None],
    engines: Mapping[str, str] = MappingProxyType({}),
) -> Generator[StreamRecord, None, None]:
    """The records of a video, from the pipeline on this machine.

    Args:
        video: the file.
        params: what is asked for.
        bundle: the folder with the engines; None: SELSA_BUNDLE, or the packaged default.
        say: told which bundle it is when none was named.
        engines: the `provider` and `precision` to run in, where they were named.

    Raises:
        MissingExtraError: the pipeline is not installed.
        InputError: the video cannot be read.
        DetectionFailedError: detection failed, or the bundle cannot be used (code `bundle_unusable`).
        IncompleteError: the records end without a summary.
    """
    _check_readable(video)
    yield from _run("detect", lambda runner: runner(video, params, bundle=bundle, say=say, engines=engines))


def stream_locally(
    pieces: Iterable[bytes | TimedImage],
    start: StreamStart,
    *,
    bundle: Path | None,
    say: Callable[[str], None],
    engines: Mapping[str, str] = MappingProxyType({}),
) -> Generator[StreamRecord, None, None]:
    """The records of a video that is still arriving, from the pipeline on this machine.

    Args:
        pieces: what arrives; read in a thread.
        start: what it is and what is asked for.
        bundle: as of `detect_locally`, like the others.

    Raises:
        SelsaError: as `detect_locally`, or whatever the pieces raise.
    """
    yield from _run("stream", lambda runner: runner(pieces, start, bundle=bundle, say=say, engines=engines))


def _run(name: str, begin: Callable[[Any], Iterator[StreamRecord]]) -> Generator[StreamRecord, None, None]:
    emitted = 0
    complete = False
    with needs_extra(_COMMAND, "selsa_server"):
        runner = _entry_point(name).load()
        try:
            with closing(_closable(begin(runner))) as records:
                for record in records:
                    yield record
                    emitted += record.type == "frame"
                    complete = isinstance(record, SummaryRecord)
        except Exception as error:
            failure = _described(error, emitted)
            if failure is None:
                raise
            raise DetectionFailedError(failure) from error
    if not complete:
        raise IncompleteError("The detections are incomplete: the pipeline gave no summary", emitted=emitted)


def _entry_point(name: str) -> EntryPoint:
    for point in entry_points(group=GROUP, name=name):
        return point
    raise MissingExtraError(_COMMAND, "server", "selsa_server")


def _closable(records: Iterator[StreamRecord]) -> Generator[StreamRecord, None, None]:
    # Closing the outer generator closes the runner's where it is one: Ctrl-C frees its decoder and engines.
    yield from records


def _described(error: Exception, emitted: int) -> ErrorRecord | None:
    if isinstance(error, CodedError):
        return error_record(error, emitted)
    if any(kind.__name__ == "BundleError" for kind in type(error).__mro__):
        title = "The bundle cannot be used"
        return ErrorRecord(
            code="bundle_unusable", status=500, title=title, detail=str(error), emitted=emitted
        )
    return None


def _check_readable(video: Path) -> None:
    try:
        with video.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"Cannot read {video}: {error.strerror or error}") from error
