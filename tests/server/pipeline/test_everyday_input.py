"""Videos as they come, through the pipeline with the packaged everyday model: every frame has a record."""

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from media import write_video

from selsa_bundle.default_bundle import default_bundle, sample_video
from selsa_bundle.errors import ChoiceError
from selsa_bundle.runtimes.choice import options_named
from selsa_bundle.runtimes.load import LoadedBundle, load_engines, prove_engines
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, VideoRecord

Image = npt.NDArray[np.uint8]
MODES = ("sequence", "online")


@pytest.fixture(scope="module")
def bundle() -> LoadedBundle:
    return load_engines(default_bundle())


def sample(count: int) -> list[Image]:
    with av.open(str(sample_video())) as container:
        return [
            frame.to_ndarray(format="rgb24")
            for frame, _ in zip(container.decode(video=0), range(count), strict=False)
        ]


def film(path: Path, frames: list[Image], *, pix_fmt: str = "bgr0") -> Path:
    height, width = frames[0].shape[:2]
    return write_video(
        path, len(frames), codec="ffv1", pix_fmt=pix_fmt, size=(width, height), picture=lambda i: frames[i]
    )


def detected(bundle: LoadedBundle, path: Path, mode: str, *, least: float = 0.05) -> list[FrameRecord]:
    """The frame records; there is one for each frame of the file, and the summary says so."""
    params = DetectParams(mode=mode, score_threshold=least)
    video, *frames, summary = DetectionPipeline(bundle).run(path, params)
    assert isinstance(video, VideoRecord)
    assert isinstance(summary, SummaryRecord)
    records = [each for each in frames if isinstance(each, FrameRecord)]
    assert [each.index for each in records] == list(range(summary.demuxed))
    assert (summary.emitted, summary.corrupt, summary.complete) == (len(records), 0, True)
    return records


def names(records: Iterable[FrameRecord], least: float) -> list[str]:
    return [each.class_name for record in records for each in record.detections if each.score >= least]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("count", [1, 2])
def test_a_video_of_one_or_two_frames_has_as_many_records(
    bundle: LoadedBundle, tmp_path: Path, mode: str, count: int
) -> None:
    records = detected(bundle, film(tmp_path / "film.mkv", sample(count)), mode)
    assert len(records) == count
    assert names(records, 0.35).count("person") >= count


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("level", [0, 255])
def test_a_black_or_white_video_has_no_detection_of_use(
    bundle: LoadedBundle, tmp_path: Path, mode: str, level: int
) -> None:
    frames = [np.full((120, 160, 3), level, np.uint8)] * 5
    assert names(detected(bundle, film(tmp_path / "film.mkv", frames), mode), 0.2) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_landscape_without_objects_has_no_detection_of_use(
    bundle: LoadedBundle, tmp_path: Path, mode: str
) -> None:
    """A sky over a field, with a little noise, under a camera that pans."""
    random = np.random.default_rng(0)
    sky = np.linspace((110, 150, 220), (200, 215, 235), 60)
    field = np.linspace((90, 120, 60), (60, 90, 40), 60)
    rows = np.concatenate([sky, field])[:, None]
    frames = [
        np.clip(rows + 12 * np.sin(np.arange(160) / 23 + i / 4)[None, :, None], 0, 255)
        + random.normal(0, 2, (120, 160, 3))
        for i in range(6)
    ]
    path = film(tmp_path / "film.mkv", [np.clip(each, 0, 255).astype(np.uint8) for each in frames])
    assert names(detected(bundle, path, mode), 0.35) == []


def test_black_frames_between_do_not_take_the_persons_away(bundle: LoadedBundle, tmp_path: Path) -> None:
    frames = sample(6)
    frames[2] = frames[3] = np.zeros_like(frames[0])
    for mode in MODES:
        records = detected(bundle, film(tmp_path / f"{mode}.mkv", frames), mode)
        counts = [names([record], 0.35).count("person") for record in records]
        assert counts[2] == counts[3] == 0
        assert all(counts[i] for i in (0, 1, 4, 5))


def test_a_grey_video_is_detected_on_as_a_grey_picture_of_it(bundle: LoadedBundle, tmp_path: Path) -> None:
    records = detected(bundle, film(tmp_path / "film.mkv", sample(3), pix_fmt="gray"), "sequence")
    assert names(records, 0.35).count("person") >= 3


def test_a_portrait_and_a_4k_video_have_boxes_inside_their_frames(
    bundle: LoadedBundle, tmp_path: Path
) -> None:
    (frame,) = sample(1)
    large = np.kron(frame, np.ones((6, 6, 1), np.uint8))
    portrait = np.ascontiguousarray(frame.transpose(1, 0, 2))
    for name, picture in (("4k", large), ("portrait", portrait)):
        (record,) = detected(bundle, film(tmp_path / f"{name}.mkv", [picture]), "online")
        height, width = picture.shape[:2]
        for each in record.detections:
            assert 0 <= each.box.x1 <= each.box.x2 <= width + 0.5
            assert 0 <= each.box.y1 <= each.box.y2 <= height + 0.5
    (record,) = detected(bundle, tmp_path / "4k.mkv", "online")
    assert names([record], 0.35).count("person") >= 1


@pytest.mark.parametrize("mode", MODES)
def test_a_video_that_changes_its_size_has_records_of_both_parts(
    bundle: LoadedBundle, tmp_path: Path, mode: str
) -> None:
    frames = sample(4)
    parts = [frames[:2], [np.ascontiguousarray(frame[::2, ::2]) for frame in frames[2:]]]
    data = b""
    for number, part in enumerate(parts):
        height, width = part[0].shape[:2]
        path = tmp_path / f"{number}.ts"
        write_video(
            path, len(part), size=(width, height), picture=part.__getitem__, options={"bf": "0"},
            pts=[80 * number, 80 * number + 40], container_format="mpegts",
        )  # fmt: skip
        data += path.read_bytes()
    both = tmp_path / "both.ts"
    both.write_bytes(data)
    records = detected(bundle, both, mode)
    assert len(records) == 4
    assert all(names([record], 0.3).count("person") for record in records)


def test_two_hundred_persons_give_at_most_a_hundred_detections(bundle: LoadedBundle, tmp_path: Path) -> None:
    (frame,) = sample(1)
    crowd = np.tile(frame[::2, ::2], (14, 14, 1))[:2160, :3840]
    (record,) = detected(bundle, film(tmp_path / "film.mkv", [crowd]), "sequence")
    assert len(record.detections) <= 100
    scores = [each.score for each in record.detections]
    assert scores == sorted(scores, reverse=True)


def test_a_smaller_size_gives_smaller_frames_and_another_model(tmp_path: Path, bundle: LoadedBundle) -> None:
    small = load_engines(default_bundle(), options_named("cpu", "fp32", size=320))
    assert small.manifest.preprocess.resized_size(1080, 1920) == (180, 320)
    assert small.digest != bundle.digest
    assert prove_engines(small) is not None
    assert names(detected(small, film(tmp_path / "film.mkv", sample(2)), "sequence"), 0.35).count("person")


@pytest.mark.parametrize("size", [31, 417])
def test_a_size_that_the_bundle_does_not_allow_is_refused(size: int) -> None:
    with pytest.raises(ChoiceError, match=rf"--size is {size}; the bundle everyday allows 32 to 416 pixels"):
        load_engines(default_bundle(), options_named("cpu", "fp32", size=size))


def test_the_bundles_own_size_changes_nothing(bundle: LoadedBundle) -> None:
    same = load_engines(default_bundle(), options_named("cpu", "fp32", size=416))
    assert (same.manifest, same.digest) == (bundle.manifest, bundle.digest)
