"""The pipeline on a lossless file of the clip gives the published detections."""

from pathlib import Path

import pytest
from lossless import write_ffv1
from procedural_clip import CLIP_FRAMES, clip_frame
from published import Published, of_record

from selsa_bundle.runtimes.load import LoadedBundle, load_engines
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, VideoRecord

EVERYTHING = DetectParams(score_threshold=0)


@pytest.fixture(scope="module")
def bundle(r18_bundle: Path) -> LoadedBundle:
    return load_engines(r18_bundle)


def frames_of(
    bundle: LoadedBundle, video: Path, params: DetectParams = EVERYTHING, batch: int = 4
) -> dict[int, FrameRecord]:
    pipeline = DetectionPipeline(bundle, PipelineOptions(batch=batch))
    records = list(pipeline.run(video, params))
    assert isinstance(records[0], VideoRecord)
    assert isinstance(records[-1], SummaryRecord)
    return {r.index: r for r in records if isinstance(r, FrameRecord)}


def test_every_published_detection_is_ours(bundle: LoadedBundle, video: Path, published: Published) -> None:
    found = frames_of(bundle, video)
    assert list(found) == list(range(CLIP_FRAMES))
    published.assert_equals({i: of_record(record) for i, record in found.items()})


def test_the_batch_size_changes_no_detection(bundle: LoadedBundle, video: Path) -> None:
    assert frames_of(bundle, video, batch=1) == frames_of(bundle, video, batch=5)


def test_a_segment_gives_what_a_file_cut_to_it_gives(
    bundle: LoadedBundle, video: Path, tmp_path: Path
) -> None:
    cut = write_ffv1(tmp_path / "cut.mkv", map(clip_frame, range(3, 9)))
    segment = frames_of(bundle, video, DetectParams(start=3 / 25 - 1e-3, end=9 / 25 - 1e-3))
    alone = frames_of(bundle, cut, DetectParams())
    assert list(segment) == list(range(3, 9))
    assert [r.detections for r in segment.values()] == [r.detections for r in alone.values()]


def test_stride_leaves_out_frames_and_changes_none(bundle: LoadedBundle, video: Path) -> None:
    every = frames_of(bundle, video)
    third = frames_of(bundle, video, DetectParams(score_threshold=0, stride=3))
    assert third == {i: every[i] for i in (0, 3, 6, 9)}


def test_online_mode_sees_only_the_past(bundle: LoadedBundle, video: Path, tmp_path: Path) -> None:
    beginning = write_ffv1(tmp_path / "beginning.mkv", map(clip_frame, range(5)))
    params = DetectParams(mode="online", reference_frames=3)
    whole, part = frames_of(bundle, video, params), frames_of(bundle, beginning, params)
    assert [whole[i].detections for i in range(5)] == [part[i].detections for i in range(5)]


def test_online_mode_with_ten_copies_of_the_first_frame_is_one_copy_counted_ten_times(
    bundle: LoadedBundle, video: Path
) -> None:
    first = frames_of(bundle, video, DetectParams(mode="online", bank="first"))
    other = frames_of(bundle, video, DetectParams(mode="online", bank="first", reference_frames=1))
    # At frame 0 the bank holds only the frame itself, so the number of copies cannot matter ...
    assert [d.class_id for d in first[0].detections] == [d.class_id for d in other[0].detections]
    # ... later it does.
    assert first[9].detections != other[9].detections
