"""Records do not depend on how the bytes are split, and an incomplete sequence is always an error."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selsa_client.wire.errors import DetectionFailedError, IncompleteError, SelsaError, WireFormatError
from selsa_client.wire.records import LineSplitter, RecordReader


def read(*pieces: bytes) -> tuple[list[Any], RecordReader]:
    reader = RecordReader()
    records = [record for piece in pieces for record in reader.feed(piece)]
    return records + list(reader.finish()), reader


def test_bytes_cut_at_any_position_give_the_same_records(samples):
    whole, _ = read(samples.whole)
    for at in range(len(samples.whole) + 1):
        assert read(samples.whole[:at], samples.whole[at:])[0] == whole


@given(st.data())
def test_bytes_in_any_pieces_give_the_same_records(samples, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples.whole)), max_size=40)))
    edges = [0, *cuts, len(samples.whole)]
    pieces = [samples.whole[a:b] for a, b in pairwise(edges)]
    assert read(*pieces)[0] == read(samples.whole)[0]


@given(st.lists(st.binary(max_size=30)), st.integers(1, 200))
def test_lines_are_complete_and_never_longer_than_the_limit(pieces, limit):
    whole = b"".join(pieces)
    splitter = LineSplitter(limit)
    try:
        lines = [line for piece in pieces for line in splitter.feed(piece)]
    except WireFormatError:
        assert max(map(len, whole.split(b"\n"))) > limit
    else:
        assert [*lines, splitter.rest()] == [
            *(line for line in whole.split(b"\n")[:-1] if line.strip()),
            whole.split(b"\n")[-1],
        ]


def test_a_sequence_cut_anywhere_is_incomplete(samples):
    end = len(samples.whole) - 1  # without the last line's end every record is still whole
    for at in range(end):
        with pytest.raises(IncompleteError) as caught:
            read(samples.whole[:at])
        assert caught.value.emitted <= 3
    assert read(samples.whole[:end])[1].summary is not None


def test_an_error_record_ends_the_sequence_after_the_frames_before_it(samples):
    reader = RecordReader()
    seen = []
    with pytest.raises(DetectionFailedError, match="send the whole file") as caught:
        seen.extend(reader.feed(samples.failed[:-1]))
        seen.extend(reader.finish())
    assert [record.type for record in seen] == ["video", "frame"]
    assert (caught.value.code, caught.value.status, caught.value.emitted) == ("truncated", 422, 1)


@pytest.mark.parametrize(
    "names",
    ["fs", "s", "vv", "vffvs", "vfffsf", "vfffss", "vfffse", "vfffsv"],
)
def test_records_out_of_order_are_refused(samples, names):
    frames = iter([*samples.frames, *samples.frames])
    records = {"v": samples.video, "s": samples.summary, "e": samples.error}
    body = samples.ndjson(*(next(frames) if name == "f" else records[name] for name in names))
    with pytest.raises(WireFormatError):
        read(body)


def test_a_summary_with_another_count_of_frames_is_incomplete(samples):
    with pytest.raises(IncompleteError):
        read(samples.ndjson(samples.video, samples.frames[0], samples.summary))


@given(st.binary(min_size=1).filter(lambda line: line.strip() and b"\n" not in line))
def test_a_line_that_is_not_a_record_is_quoted(line):
    with pytest.raises(SelsaError):
        read(line + b"\n")


def test_fields_of_a_newer_server_are_ignored(samples):
    newer = samples.ndjson(samples.video | {"new": 1}, *samples.frames, samples.summary | {"new": {}})
    assert read(newer)[0] == read(samples.whole)[0]


def test_an_endless_line_is_refused_at_the_limit():
    reader = RecordReader(line_limit=1000)
    with pytest.raises(WireFormatError, match="longer than 1000 bytes"):
        for _ in range(200):
            list(reader.feed(b"x" * 10))
