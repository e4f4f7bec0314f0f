"""Files of very many or very small parts: visiting them takes bounded memory, and no part is read twice."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from selsa_bundle.video.elements import MAX_PARTS, MAX_STREAMS, StructureError
from selsa_bundle.video.structure import has_gap

PACK = b"\0\0\1\xba\x44" + bytes(8) + b"\xf8"
END = b"\0\0\1\xb9"
SEGMENT = bytes.fromhex("18538067 01ffffffffffffff")  # of unknown length, as the elements in it
TRACKS = bytes.fromhex("1654ae6b 01ffffffffffffff")
EBML = bytes.fromhex("1a45dfa3 80")


def page(serial: int) -> bytes:
    """A page of Ogg without contents."""
    head = b"OggS\0\2" + (1).to_bytes(8, "little") + serial.to_bytes(4, "little") + bytes(4)
    data = bytes(head + bytes(5))
    checksum = 0
    for byte in data:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum >> 31 else 0)) & 0xFFFFFFFF
    return head + checksum.to_bytes(4, "little") + b"\0"


def gap(tmp_path: Path, name: str, data: bytes) -> bool:
    path = tmp_path / "file"
    path.write_bytes(data)
    with path.open("rb", buffering=0) as file:
        return has_gap(name, file, len(data), 0, len(data), packets=1, every=True)


@pytest.fixture
def memory() -> Iterator[None]:
    """The test needs less than 6 MB; its file has at most 2 of them."""
    tracemalloc.start()
    yield
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 6 << 20


@pytest.mark.parametrize("zeros", [*range(4), *range(4090, 4100), 8190, 8191, 8192, (1 << 20) - 1, 1 << 20])
def test_any_number_of_zeros_may_be_between_packs(tmp_path: Path, zeros: int) -> None:
    assert not gap(tmp_path, "mpeg", PACK + bytes(zeros) + PACK + bytes(zeros) + END)


def test_packs_with_a_zero_between_them_are_not_read_again_and_again(tmp_path: Path, memory: None) -> None:
    assert not gap(tmp_path, "mpeg", PACK + (b"\0" + END) * 100_000)


def test_elements_that_contain_themselves_are_a_gap(tmp_path: Path, memory: None) -> None:
    assert gap(tmp_path, "matroska,webm", EBML + SEGMENT + TRACKS * 100_000)


def test_an_ogg_file_of_very_many_streams_is_a_gap(tmp_path: Path, memory: None) -> None:
    pages = [page(serial) for serial in range(MAX_STREAMS + 1)]
    assert not gap(tmp_path, "ogg", b"".join(pages[:-1]))
    assert gap(tmp_path, "ogg", b"".join(pages))


@pytest.mark.slow
def test_more_parts_than_can_be_visited_in_good_time_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    with path.open("w+b", buffering=0) as file:
        size = file.truncate(12 * (MAX_PARTS + 10))  # frames of IVF without bytes
        with pytest.raises(StructureError, match="too many parts"):
            has_gap("ivf", file, size, 0, size, packets=1, every=True)
