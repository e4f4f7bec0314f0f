"""The modes equal the server's modes, and frame features are computed once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluated import PREPROCESS, SMALL, TruthEngines, read_set, small_checkpoint, write_set
from fake_engines import FakeEngines
from fakes import fake_bundle
from media import write_video

from selsa_bundle.engine import Engines
from selsa_bundle.gate.agreement import Agreement, compare_detections
from selsa_bundle.preprocess import Preprocess
from selsa_bundle.runtimes.load import load_engines
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.schema.detect import DetectParams, FrameRecord
from selsa_training.checkpoint.checkpoint import Checkpoint
from selsa_training.checkpoint.detector import detector_of
from selsa_training.data.images import read_image
from selsa_training.data.records import DataSet
from selsa_training.evaluation.comparison import compare, score
from selsa_training.evaluation.errors import EvaluationError
from selsa_training.evaluation.metrics.detections import Detections, FrameDetections
from selsa_training.evaluation.metrics.labels import label_map
from selsa_training.evaluation.modes import DetectionRun, detect
from selsa_training.evaluation.variants import MODES, Variant, variant_of
from selsa_training.model.torch_engines import TorchEngines

LABELS = np.arange(30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("synthetic") / "set")


@pytest.fixture(scope="module")
def data(folder: Path) -> DataSet:
    return read_set(folder)


@pytest.fixture(scope="module")
def engines() -> TorchEngines:
    return TorchEngines(detector_of(small_checkpoint()))


def run(
    engines: Engines, data: DataSet, variants: Sequence[Variant], batch: int = 4
) -> dict[Variant, Detections]:
    return detect(engines, data, PREPROCESS, variants, LABELS, DetectionRun(batch=batch))


def of_frame(found: Detections, frame: int) -> FrameDetections:
    rows = found.rows_of(frame)
    return found.boxes[rows], found.scores[rows], found.labels[rows]


def assert_same(wanted: dict[int, FrameDetections], found: Detections, *, rounding: float = 1e-4) -> None:
    assert found.frames.tolist() == list(wanted)
    agreement = Agreement()
    for frame, detections in wanted.items():
        compare_detections(agreement, detections, of_frame(found, frame), threshold=0)
    assert agreement.compared > 10 * len(wanted)
    assert (agreement.unmatched, agreement.extra) == (0, 0)
    assert agreement.score < rounding
    assert agreement.corner < 100 * rounding


def from_the_server(
    engines: Engines, data: DataSet, film: Path, params: DetectParams
) -> dict[int, FrameDetections]:
    loaded = fake_bundle(engines)  # type: ignore[arg-type]
    manifest = loaded.manifest.model_copy(
        update={"classes": data.classes, "preprocess": PREPROCESS, "reference_frames": SMALL.reference_frames}
    )
    records = DetectionPipeline(replace(loaded, manifest=manifest)).run(film, params)
    return {
        record.index: (
            np.array([(d.box.x1, d.box.y1, d.box.x2, d.box.y2) for d in found], np.float32).reshape(-1, 4),
            np.array([d.score for d in found], np.float32),
            np.array([d.class_id for d in found], np.int64),
        )
        for record in records
        if isinstance(record, FrameRecord)
        for found in [record.detections]
    }


@pytest.mark.parametrize("mode", ["sequence", "online"])
@pytest.mark.parametrize("references", [0, 1, 3, 4, 20])
def test_a_mode_gives_the_detections_of_the_server(
    engines: TorchEngines, data: DataSet, tmp_path: Path, mode: str, references: int
) -> None:
    one = data.first(1)
    film = write_video(
        tmp_path / "film.mkv",
        one.frame_count,
        codec="ffv1",
        pix_fmt="bgr0",
        size=(64, 48),
        picture=lambda number: read_image(one.path(number)),
    )
    params = DetectParams(mode=mode, reference_frames=references, score_threshold=0)  # type: ignore[arg-type]
    variant = variant_of(mode, references)  # type: ignore[arg-type]
    assert_same(from_the_server(engines, one, film, params), run(engines, one, [variant])[variant])


def test_every_frame_goes_through_the_frame_engine_once_for_all_variants(data: DataSet) -> None:
    fake = FakeEngines()
    comparison = compare(MODES, ("reference_frames", "proposals"), references=3, proposals=2)
    found = run(fake, data, comparison.variants)
    assert fake.frames_run == data.frame_count == 22
    assert len(found) == len(comparison.variants) == 3 + 7 - 1 + 2 - 1
    assert all(each.frames.tolist() == list(range(22)) for each in found.values())


def test_the_frames_are_the_images_in_their_order(data: DataSet) -> None:
    red = [float(PREPROCESS.prepare(read_image(data.path(f))).pixels[:60, :80, 0].mean()) for f in range(22)]
    for found in run(FakeEngines(), data, [variant_of(mode, 3) for mode in MODES]).values():
        np.testing.assert_allclose(found.scores * 255, red, atol=1e-3)


def test_frames_that_share_a_bank_are_detected_together(data: DataSet) -> None:
    fake = FakeEngines()
    run(fake, data.first(1), [variant_of("online", 2)])
    # The bank changes after frames 0, 1, 2, 4 and 8; a batch ends after 3 and 7. Frames 5 to 7 are one call.
    assert fake.references_seen == [0, 1, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_the_batch_size_changes_no_detection(engines: TorchEngines, data: DataSet, batch: int) -> None:
    variants = [variant_of(mode, 3) for mode in MODES]
    found, other = (run(engines, data, variants, batch=size) for size in (batch, 4))
    for variant in variants:
        assert_same({frame: of_frame(other[variant], frame) for frame in range(22)}, found[variant])


def test_a_video_is_detected_as_if_it_were_alone(engines: TorchEngines, data: DataSet) -> None:
    variants = [variant_of(mode, 3) for mode in MODES]
    both, alone = run(engines, data, variants), run(engines, data.first(1), variants)
    for variant in variants:
        assert_same({frame: of_frame(both[variant], frame) for frame in range(11)}, alone[variant])


def test_sequence_mode_without_references_is_single_mode() -> None:
    assert variant_of("sequence", 0) == variant_of("single", 14)


def test_references_change_the_detections(engines: TorchEngines, data: DataSet) -> None:
    found = run(engines, data, [variant_of(mode, 3) for mode in MODES])
    assert len({each.scores.tobytes() for each in found.values()}) == 3


def test_fewer_proposals_give_the_detections_of_an_engine_with_fewer(data: DataSet) -> None:
    checkpoint = small_checkpoint()
    fewer = SMALL.model_copy(update={"proposals": SMALL.proposals.model_copy(update={"proposals": 5})})
    masked = run(TorchEngines(detector_of(checkpoint)), data, [Variant(references=3, proposals=5)])
    small = run(TorchEngines(detector_of(replace(checkpoint, config=fewer))), data, [Variant(references=3)])
    (one,), (other,) = masked.values(), small.values()
    assert_same({frame: of_frame(other, frame) for frame in range(22)}, one)


def test_a_perfect_detector_scores_100_in_every_mode_with_any_class_order(
    data: DataSet,
) -> None:
    order = np.random.default_rng(0).permutation(30)
    classes = [data.classes[label] for label in np.argsort(order)]
    comparison = compare(MODES, (), references=3, proposals=4)
    found = detect(
        TruthEngines(data, PREPROCESS, order),
        data,
        PREPROCESS,
        comparison.variants,
        label_map(classes, data.classes),
        DetectionRun(),
    )
    outcome = score(data, comparison, found)
    assert list(outcome.modes) == ["sequence", "online", "single"]
    for scores in outcome.modes.values():
        assert scores.vid.ap50["all"] == scores.vid.ap50["degraded"] == pytest.approx(100)
        assert scores.coco.ap == pytest.approx(100)
        assert scores.frames == 22


def test_the_engines_of_a_bundle_give_the_detections_of_its_checkpoint(
    r18_checkpoint: Checkpoint, r18_bundle: Path, tmp_path: Path
) -> None:
    data = read_set(write_set(tmp_path / "set", clips=1, length=2))
    preprocess = Preprocess(long_side=320, short_side=192)
    variants = [variant_of(mode, 2) for mode in MODES]
    torch, onnx = (
        detect(engines, data, preprocess, variants, LABELS, DetectionRun(batch=2))
        for engines in (TorchEngines(detector_of(r18_checkpoint)), load_engines(r18_bundle).engines)
    )
    for variant in variants:
        assert_same(
            {frame: of_frame(torch[variant], frame) for frame in range(2)}, onnx[variant], rounding=1e-3
        )


def test_classes_that_the_data_set_lacks_are_left_out(engines: TorchEngines, data: DataSet) -> None:
    variant = variant_of("sequence", 3)
    labels = np.where(LABELS % 2, LABELS, -1)
    every = run(engines, data, [variant])[variant]
    some = detect(engines, data, PREPROCESS, [variant], labels, DetectionRun(batch=4))[variant]
    kept = every.labels % 2 == 1
    assert 0 < len(some.labels) < len(every.labels)
    assert some.frames.tolist() == every.frames.tolist()
    assert np.array_equal(some.boxes, every.boxes[kept])
    assert np.array_equal(some.labels, every.labels[kept])


def test_classes_that_differ_are_named() -> None:
    assert label_map(("b", "a"), ("a", "b")).tolist() == [1, 0]
    assert label_map(("cat", "cow"), ("cow",)).tolist() == [-1, 0]
    with pytest.raises(EvaluationError, match=r"the data set has 1 that the model has not: dog"):
        label_map(("cat", "cow"), ("cat", "dog"))
    with pytest.raises(EvaluationError, match=r"has 9 that the model has not: b0, b1, b2, b3, b4 and 4 "):
        label_map(("a",), ("a", *(f"b{n}" for n in range(9))))
