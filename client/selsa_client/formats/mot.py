"""`mot`: MOTChallenge's text for detections, a line each, that its development kit and trackers read.

`frame, id, left, top, width, height, confidence, x, y, z`: frames and pixels count from 1. Detections
are not tracked and lie in the picture, so id, x, y and z are -1, as in the benchmark's own `det.txt`.
"""

from collections.abc import Iterable

from selsa_client.formats.encoder import Encode, corner_and_size
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import FrameRecord


def as_mot() -> Encode:
    """The classes are not in it; ask for one with `--classes`."""

    def encode(record: StreamRecord) -> Iterable[bytes]:
        if isinstance(record, FrameRecord):
            yield "".join(_lines(record)).encode()

    return encode


def _lines(frame: FrameRecord) -> Iterable[str]:
    for each in frame.detections:
        left, top, width, height = corner_and_size(each.box)
        numbers = (left + 1, top + 1, width, height)
        geometry = ",".join(f"{number:.3f}" for number in numbers)
        yield f"{frame.index + 1},-1,{geometry},{each.score:.6g},-1,-1,-1\n"
