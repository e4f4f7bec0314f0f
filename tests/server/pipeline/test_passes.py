"""The reference frames are read first; a short video is decoded once all the same."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from fake_engines import FakeEngines
from fakes import fake_bundle
from media import write_video

from selsa_server.decoders.protocol import FrameSource
from selsa_server.pipeline import passes
from selsa_server.pipeline.passes import KEPT_BYTES, Item, TwoPasses
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import Resume
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord
from selsa_server.video.decode import CorruptFrame


class Reader:
    """Stands for a video: every frame is a corrupt one. Notes what is read, and what is still open."""

    def __init__(self) -> None:
        self.read: list[list[int]] = []
        self.opened = 0

    def __call__(self, wanted: Sequence[int]) -> FrameSource[Item]:
        self.read.append([])
        return FrameSource(self._items(wanted, self.read[-1]))

    def _items(self, wanted, read):
        self.opened += 1
        try:
            for index in wanted:
                read.append(index)
                yield CorruptFrame(index)
        finally:
            self.opened -= 1


@pytest.mark.parametrize(
    ("references", "keys"),
    [
        ([1, 4, 8], range(10)),
        ([1, 4, 8], range(0, 10, 3)),
        ([0, 9], [0, 3, 6, 9]),
        ([5], range(10)),
        ([5], [0]),
        ([], range(10)),
    ],
)
@pytest.mark.parametrize("frame_bytes", [1, KEPT_BYTES])
def test_both_passes_give_their_frames(references: list[int], keys: Sequence[int], frame_bytes: int) -> None:
    reader = Reader()
    both = TwoPasses(reader, references, keys, frame_bytes)
    assert [item.index for item in both.references().items] == references
    assert [item.index for item in both.keys(keys).items] == list(keys)
    assert reader.opened == 0


def test_a_short_video_is_read_once_and_a_long_one_for_each_pass() -> None:
    for frame_bytes, read in ((1, [[*range(10)]]), (KEPT_BYTES, [[4, 8], [*range(10)]])):
        reader = Reader()
        both = TwoPasses(reader, [4, 8], range(10), frame_bytes)
        list(both.references().items)
        list(both.keys(range(10)).items)
        assert reader.read == read


def test_the_first_pass_reads_up_to_the_last_reference_only() -> None:
    reader = Reader()
    both = TwoPasses(reader, [2, 5], range(100), 1)
    list(both.references().items)
    assert reader.read == [[*range(6)]]
    both.close()
    assert reader.opened == 0


def test_a_pass_that_ends_early_closes_the_video() -> None:
    reader = Reader()
    both = TwoPasses(reader, [2, 5], range(100), 1)
    first = both.references().items
    next(first)
    first.close()
    assert reader.opened == 0


@pytest.mark.parametrize("params", [{}, {"stride": 2}, {"stride": 3, "fill": "interpolate"}])
@pytest.mark.parametrize("last", [-1, 3, 11])
def test_records_are_the_same_whether_frames_are_kept_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: dict[str, object], last: int
) -> None:
    path = write_video(tmp_path / "video.mp4", 24, options={"bf": "3"})

    def lines() -> list[str]:
        pipeline = DetectionPipeline(fake_bundle(FakeEngines()))
        emitted = len(range(0, last + 1, int(str(params.get("stride", 1)))))
        found = pipeline.run(
            path, DetectParams.model_validate(params), None, Resume(emitted=emitted, last=last)
        )
        return [
            each.model_dump_json(exclude={"seconds", "timings"})
            for each in found
            if isinstance(each, FrameRecord | SummaryRecord)
        ]

    kept = lines()
    monkeypatch.setattr(passes, "KEPT_BYTES", 0)
    assert lines() == kept
