"""Detection without a server, if the server extra is installed on this machine.

The pipeline is found by the entry points `detect` and `stream` of the group `selsa.local`; the client knows
only their signatures.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

from selsa_client.cli.exit_codes import MissingExtraError, needs_extra
from selsa_client.live.protocol import TimedImage
from selsa_client.wire.errors import DetectionFailedError, IncompleteError, InputError
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import DetectParams, ErrorRecord, SummaryRecord
from selsa_server.schema.problems import CodedError, error_record
from selsa_server.schema.stream import StreamStart

GROUP: Final = "selsa.local"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPipeline:
    """The pipeline on this machine.

    `selsa.local` has two entry points: `detect(video, params, *, bundle, say, engines)` and
    `stream(pieces, start, *, bundle, say, engines)`. Both give records in the order of the wire format. They
    raise a `CodedError` if detection fails, or a `BundleError` if the bundle cannot be used.

    Attributes:
        bundle: folder with the engines; None: SELSA_BUNDLE, or the packaged default.
        engines: `provider`, `precision` and `size`, if given.
        say: called with the bundle that is used when none was given.
    """

    bundle: Path | None
    engines: Mapping[str, str]
    say: Callable[[str], None]

    def detect(self, video: Path, params: DetectParams) -> Generator[StreamRecord, None, None]:
        """The records of a video file.

        Raises:
            MissingExtraError: the pipeline is not installed.
            InputError: the video cannot be read.
            DetectionFailedError: detection failed, or the bundle cannot be used (code `bundle_unusable`).
            IncompleteError: the records end without a summary.
        """
        try:
            video.open("rb").close()
        except OSError as error:
            raise InputError(f"Cannot read {video}: {error.strerror or error}") from error
        return self._run("detect", video, params)

    def stream(
        self, pieces: Iterable[bytes | TimedImage], start: StreamStart
    ) -> Generator[StreamRecord, None, None]:
        """The records of a video that is still arriving; `pieces` are read in a thread.

        Raises:
            SelsaError: as `detect`, or any error of the pieces.
        """
        return self._run("stream", pieces, start)

    def _run(self, name: str, source: Any, wanted: Any) -> Generator[StreamRecord, None, None]:
        emitted = 0
        complete = False
        with needs_extra("detect --local", "selsa_server"):
            # NumPy's threads would spin while the pipeline is imported; its engines have their own.
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
            runner = _entry_point(name).load()
            try:
                found = runner(source, wanted, bundle=self.bundle, say=self.say, engines=self.engines)
                with closing(_closable(found)) as records:
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
            raise IncompleteError(
                "The detections are incomplete: the pipeline gave no summary", emitted=emitted
            )


def _entry_point(name: str) -> EntryPoint:
    for point in entry_points(group=GROUP, name=name):
        return point
    raise MissingExtraError("detect --local", "server", "selsa_server")


def _closable(records: Iterator[StreamRecord]) -> Generator[StreamRecord, None, None]:
    # Closing this closes the runner's generator: Ctrl-C frees its decoder and engines.
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
