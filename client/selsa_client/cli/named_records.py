"""Records that say which of several videos they are of."""

from collections.abc import Generator
from contextlib import closing
from typing import Any, Final

from pydantic import BaseModel

from selsa_client.wire.errors import DetectionFailedError
from selsa_client.wire.frames import Frame
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import ErrorRecord, FrameRecord, SummaryRecord, VideoRecord


class _NamedVideo(VideoRecord):
    source: str


class _NamedFrame(Frame):
    source: str


class _NamedSummary(SummaryRecord):
    source: str


class _NamedError(ErrorRecord):
    source: str


_NAMED: Final[dict[type[BaseModel], Any]] = {
    VideoRecord: _NamedVideo,
    FrameRecord: _NamedFrame,
    Frame: _NamedFrame,
    SummaryRecord: _NamedSummary,
}


def named(records: Generator[StreamRecord, None, None], source: str) -> Generator[StreamRecord, None, None]:
    """The records, each with a further field `source`; closes what it is given.

    Raises:
        DetectionFailedError: as the records do; its record has the field too.
    """
    with closing(records):
        try:
            for record in records:
                yield _NAMED[type(record)].model_construct(**dict(record), source=source)
        except DetectionFailedError as error:
            raise DetectionFailedError(_NamedError(**dict(error.record), source=source)) from error
