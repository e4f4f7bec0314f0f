"""Detection without a server, when the server extra is installed on this machine.

The pipeline is found by the entry point `detect` of the group `selsa.local` and known by its shape only.
"""

from collections.abc import Generator, Iterator
from contextlib import closing
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from selsa_client.errors import DetectionFailedError, IncompleteError, InputError
from selsa_client.extras import MissingExtraError, needs_extra
from selsa_client.records import StreamRecord
from selsa_server.schema import DetectParams, ErrorRecord, SummaryRecord

__all__ = ["GROUP", "DescribedFailure", "LocalRunner", "detect_locally"]

GROUP: Final = "selsa.local"
_COMMAND: Final = "detect --local"


class LocalRunner(Protocol):
    """What the entry point gives: the records of a video, in the order of the wire format.

    An expected failure raises a `DescribedFailure`, or a `BundleError` when the bundle cannot be used.
    """

    def __call__(self, video: Path, params: DetectParams, *, bundle: Path) -> Iterator[StreamRecord]:
        """Detect on `video` with the engines of `bundle`."""


@runtime_checkable
class DescribedFailure(Protocol):
    """An exception with what an `error` record says."""

    code: str
    status: int
    title: str
    detail: str


def detect_locally(video: Path, params: DetectParams, *, bundle: Path) -> Generator[StreamRecord, None, None]:
    """The records of a video, from the pipeline on this machine.

    Raises:
        MissingExtraError: the pipeline is not installed.
        InputError: the video cannot be read.
        DetectionFailedError: detection failed, or the bundle cannot be used (code `bundle_unusable`).
        IncompleteError: the records end without a summary.
    """
    _check_readable(video)
    emitted = 0
    complete = False
    with needs_extra(_COMMAND, "selsa_server"):
        runner: LocalRunner = _entry_point().load()
        try:
            with closing(_closable(runner(video, params, bundle=bundle))) as records:
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


def _entry_point() -> EntryPoint:
    for point in entry_points(group=GROUP, name="detect"):
        return point
    raise MissingExtraError(_COMMAND, "server", "selsa_server")


def _closable(records: Iterator[StreamRecord]) -> Generator[StreamRecord, None, None]:
    # Closing the outer generator closes the runner's where it is one: Ctrl-C frees its decoder and engines.
    yield from records


def _described(error: Exception, emitted: int) -> ErrorRecord | None:
    if isinstance(error, DescribedFailure):
        return ErrorRecord(
            code=error.code, status=error.status, title=error.title, detail=error.detail, emitted=emitted
        )
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
