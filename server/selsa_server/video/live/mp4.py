"""An MP4 byte stream, checked box by box before FFmpeg reads it.

Without going back, frames can be found only if the index comes before them. An index may claim a billion
samples, for which FFmpeg reserves memory at once. Where the clock of
fragments restarts, it is continued.
"""

import io
import math
from typing import Final

from selsa_bundle.video.elements import box_head
from selsa_bundle.video.mp4 import FragmentClock, mp4_claims
from selsa_server.errors import DetectError, VideoError
from selsa_server.video.container import NOT_A_VIDEO, SOUND_SAMPLES, structure_checked
from selsa_server.video.live.input import LiveFile

# Passed on without a look; all others are checked, since FFmpeg reads parts of an index at the top level too.
PASSED_BOXES: Final = frozenset(
    {b"ftyp", b"styp", b"free", b"skip", b"wide", b"mdat", b"sidx", b"emsg", b"prft", b"uuid", b"mfra"}
)
FIRST_BOXES: Final = frozenset({b"ftyp", b"styp", b"free", b"skip", b"wide", b"moov", b"mdat"})
MAX_INDEX_BYTES: Final = 64 << 20


class Mp4Stream:
    """A file to be read forward, whole boxes of the index at a time.

    Attributes:
        failure: why it ends before its end: no MP4, an index at the end or one that claims too many samples.
        cut_off: whether the input ended inside a box.
        clock_restarts: how often the clock of fragments restarted.
    """

    def __init__(self, source: LiveFile, max_frames: int) -> None:
        self._source = source
        self._max_frames = max_frames
        self._ready = memoryview(b"")
        self._passing = 0.0  # bytes of the current box that are passed on unchecked
        self._started = False
        self._indexed = False
        self._samples = 0
        self._clock = FragmentClock()
        self.cut_off = False
        self._refusal: VideoError | None = None

    @property
    def failure(self) -> DetectError | None:  # noqa: D102 - see the class
        return self._refusal or self._source.failure

    @property
    def clock_restarts(self) -> int:  # noqa: D102 - see the class
        return self._clock.restarts

    def read(self, size: int) -> bytes:
        """At least one byte and at most `size`; empty at the end."""
        if self._refusal is not None:
            return b""
        if not self._ready and not self._passing:
            try:
                self._next_box()
            except VideoError as error:
                self._refusal = error
        if self._ready:
            data, self._ready = bytes(self._ready[:size]), self._ready[size:]
            return data
        data = self._source.read(int(min(size, self._passing))) if self._passing else b""
        self.cut_off = self.cut_off or (not data and 0 < self._passing < math.inf)
        self._passing -= len(data)
        return data

    def _next_box(self) -> None:
        head = self._source.read_all(8)
        if head[:4] == b"\0\0\0\1":
            head += self._source.read_all(8)
        length, kind, _ = box_head(head)
        self._check(head, kind, length)
        self._started = True
        if head and kind not in PASSED_BOXES:
            head += self._index(kind, length - len(head))
        elif head:
            self._passing = length - len(head) if length else math.inf
        self._ready = memoryview(head)

    def _check(self, head: bytes, kind: bytes, length: int) -> None:
        if not self._started and kind not in FIRST_BOXES:
            raise VideoError("not_a_video", NOT_A_VIDEO)
        if not head:
            return
        if len(head) < 8 or 0 < length < len(head):
            self.cut_off = True
            raise VideoError("truncated", "The MP4 stream ends, or is damaged, in the middle of a part.")
        if kind == b"mdat" and not self._indexed:
            raise VideoError(
                "not_streamable",
                "The MP4 file has its index (moov) at its end, where a live stream cannot reach it; remux it "
                "with its index in front (ffmpeg -i in.mp4 -c copy -movflags +faststart out.mp4) or send it "
                "to /detect.",
            )

    def _index(self, kind: bytes, length: int) -> bytes:
        if not 0 <= length <= MAX_INDEX_BYTES:
            name = kind.decode("ascii", "replace")
            raise VideoError("undecodable", f"A part {name!r} of the MP4 stream has no size or over 64 MiB.")
        body = self._source.read_all(length)
        self.cut_off = self.cut_off or len(body) < length
        box = bytearray((length + 8).to_bytes(4, "big") + kind + body)
        with structure_checked():
            self._samples += mp4_claims(io.BytesIO(box), len(box)).unlisted
        if self._samples > self._max_frames + SOUND_SAMPLES:
            raise VideoError(
                "too_many_frames",
                f"The video has more than the {self._max_frames} frames allowed; send it in parts.",
            )
        self._indexed = self._indexed or kind == b"moov"
        for place, new in self._clock.patches(bytes(box)):
            box[place : place + len(new)] = new
        return bytes(box[8:])
