"""Whether bytes of a transport stream are missing: packets out of step, or counters that jump."""

from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

SYNC: Final = 0x47
PACKET: Final = 188
# Bytes from one packet to the next: plain, with a time code before each (camcorders), with check bytes.
STRIDES: Final = (188, 192, 204)
IN_STEP: Final = 5  # packets that begin with a sync byte; fewer may be chance
PIECE: Final = 4 << 20


class TransportCheck:
    """Looks at a transport stream piece by piece.

    Args:
        pid: identifier of the packets whose counters are checked; None: no counters are.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._pid = pid
        self._rest = b""
        self._stride = 0
        self._counter: int | None = None
        self._tables = 0  # tables of programs since the last packet of the elementary stream
        self._read = 0  # bytes before those that are kept
        self.fault: str | None = None
        self.out_of_step: int | None = None  # offset of the first packet that does not begin where it should

    @property
    def stride(self) -> int:
        """Bytes from one packet to the next; 0 if not yet known."""
        return self._stride

    def feed(self, data: bytes) -> None:
        """Check the next bytes; after a fault, further bytes are ignored."""
        if self.fault is not None:
            return
        data = self._rest + data
        if not self._stride:
            begin = self._step(data)
            if begin is None:
                self._rest = data[-STRIDES[-1] * IN_STEP :]
                self._read += len(data) - len(self._rest)
                return
            # Bytes of something else may come first, but no packet that is out of step.
            if any(data[place] == SYNC for place in range(begin - self._stride, -1, -self._stride)[:IN_STEP]):
                self.fault = "its first packets do not follow one another"
                return
            data = data[begin:]
            self._read += begin
        count = len(data) // self._stride
        packets = np.frombuffer(data, np.uint8, count * self._stride).reshape(count, self._stride)
        whole = packets[:, 0] == SYNC
        self._look_at_counters(packets[: count if whole.all() else int(np.argmin(whole))])
        if self.fault is None and not whole.all():
            self.fault = "a packet does not begin where the one before it ends"
            self.out_of_step = self._read + int(np.argmin(whole)) * self._stride
        self._rest = data[count * self._stride :]
        self._read += count * self._stride

    @property
    def cut_off(self) -> bool:
        """Whether the bytes so far end inside a packet, or have a fault."""
        # Bytes of something else may follow, and a time code may come after the last packet.
        partial = self._stride and PACKET > len(self._rest) > 0 and self._rest[0] == SYNC
        return self.fault is not None or bool(partial)

    def _step(self, data: bytes) -> int | None:
        """Where the first packets in step begin; sets the stride."""
        synced = np.frombuffer(data, np.uint8) == SYNC
        found: dict[int, int] = {}
        for stride in STRIDES:
            places = len(synced) - stride * (IN_STEP - 1)
            if places > 0:
                runs = [synced[n * stride : n * stride + places] for n in range(IN_STEP)]
                begins = np.logical_and.reduce(runs)
                if begins.any():
                    found.setdefault(int(begins.argmax()), stride)
        if not found:
            return None
        begin = min(found)
        self._stride = found[begin]
        return begin

    def _look_at_counters(self, packets: npt.NDArray[np.uint8]) -> None:
        """Whether the counter of the elementary stream jumps because a part of it is missing.

        It also jumps at a joint of recordings: there a frame begins, after a table of programs.
        """
        if self._pid is None:
            return
        pids = (packets[:, 1].astype(np.uint16) & 0x1F) << 8 | packets[:, 2]
        tables = np.flatnonzero(pids == 0)
        places = np.flatnonzero((pids == self._pid) & (packets[:, 3] & 0x10 > 0))  # those with a payload
        if not len(places):
            self._tables += len(tables)
            return
        mine = packets[places]
        counters = (mine[:, 3] & 0x0F).astype(np.int16)
        last = counters[0] - 1 if self._counter is None else self._counter
        jumps = np.diff(counters, prepend=np.int16(last)) % 16 > 1
        announced = (mine[:, 3] & 0x20 > 0) & (mine[:, 4] > 0) & (mine[:, 5] & 0x80 > 0)
        before = np.searchsorted(tables, places)
        joint = (mine[:, 1] & 0x40 > 0) & (np.diff(before, prepend=-self._tables) > 0)
        if bool((jumps & ~announced & ~joint).any()):
            self.fault = "packets of it are missing"
        elif _lacks_start_codes(mine):
            self.fault = "a frame does not begin with a start code"
        self._counter, self._tables = int(counters[-1]), len(tables) - int(before[-1])


def _lacks_start_codes(packets: npt.NDArray[np.uint8]) -> bool:
    """Whether the head of a frame's first packet is damaged: FFmpeg leaves out the frame."""
    begins = packets[(packets[:, 1] & 0x40 > 0) & (packets[:, 3] & 0xC0 == 0)]  # not scrambled
    offsets = np.where(begins[:, 3] & 0x20 > 0, 5 + begins[:, 4].astype(np.int64), 4)
    begins, offsets = begins[offsets <= PACKET - 3], offsets[offsets <= PACKET - 3]
    rows = np.arange(len(begins))
    return any(bool((begins[rows, offsets + place] != byte).any()) for place, byte in enumerate((0, 0, 1)))


def transport_fault(path: Path, pid: int | None, *, begin: int = 0, end: int | None = None) -> str | None:
    """What is missing of a transport stream, as the end of a sentence; None if nothing is.

    Args:
        pid: as for `TransportCheck`.
        begin: offset of the first byte to read.
        end: offset after the last byte; None: to the end of the file.
    """
    check = TransportCheck(pid)
    left = path.stat().st_size - begin if end is None else end - begin
    with path.open("rb") as file:
        file.seek(begin)
        while check.fault is None and (piece := file.read(min(PIECE, left))):
            check.feed(piece)
            left -= len(piece)
        if check.out_of_step is not None:
            file.seek(begin + check.out_of_step)
            if not _has_packets(file, check.stride, pid):
                return None  # bytes after the last packet are no part of the video
    return check.fault or ("its last packet is incomplete" if check.cut_off and end is None else None)


def _has_packets(file: BinaryIO, stride: int, pid: int | None) -> bool:
    """Whether packets are among the bytes that are left.

    Args:
        pid: of packets of which one is enough, if the file ends with it.
    """
    mine = () if pid is None else tuple((unit | pid).to_bytes(2, "big") for unit in (0, 0x4000))
    while piece := file.read(PIECE):
        if not piece.strip(b"\0"):
            continue
        ends = len(piece) < PIECE
        if ends and len(piece) % stride == 0:
            return True  # the last packets, the first of which is damaged
        at = piece.find(SYNC)
        while at >= 0:
            if piece[at : at + 3 * stride : stride] == bytes([SYNC]) * 3:
                return True
            if ends and (len(piece) - at) % stride == 0 and piece.startswith(mine, at + 1):
                return True
            at = piece.find(SYNC, at + 1)
    return False
