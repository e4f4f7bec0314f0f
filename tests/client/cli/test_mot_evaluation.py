"""trackeval reads a `mot` file as it is: no line is edited."""

import pytest

from selsa_client.formats import encoder
from selsa_server.schema.detect import Box, FrameRecord, SummaryRecord, TrackedDetection, VideoRecord

trackeval = pytest.importorskip("trackeval", reason="needs the extra tracks-evaluation")

FRAMES = 12


def places(number):
    """Boxes (left, top, width, height) of an object, by frame."""
    return [(10.0 + 5 * i, 20.0 + 60 * number, 30.0, 40.0) for i in range(FRAMES)]


def records(samples, ids):
    """`ids`: object -> its track_id in each frame."""
    yield VideoRecord.model_validate(samples.video | {"frame_count": FRAMES, "look_ahead": 8})
    for i in range(FRAMES):
        found = []
        for number, numbers in ids.items():
            left, top, width, height = places(number)[i]
            box = Box(x1=left, y1=top, x2=left + width, y2=top + height)
            found.append(
                TrackedDetection(box=box, score=0.9, class_id=0, class_name="dog", track_id=numbers[i])
            )
        yield FrameRecord(index=i, pts=i, time=i / 25, filled=i % 3 > 0, detections=tuple(found))
    objects = {"emitted": FRAMES, "aliases": {"4": 2}, "objects": ()}
    yield SummaryRecord.model_validate(samples.summary | objects)


def scores(folder, samples, ids):
    truth = folder / "truth" / "clip"
    (truth / "gt").mkdir(parents=True)
    (truth / "seqinfo.ini").write_text(f"[Sequence]\nname=clip\nseqLength={FRAMES}\n")
    (truth / "gt" / "gt.txt").write_text(
        "".join(
            f"{i + 1},{number + 1},{left + 1},{top + 1},{width},{height},1,1,1\n"
            for number in ids
            for i, (left, top, width, height) in enumerate(places(number))
        )
    )
    result = folder / "results" / "selsa" / "data" / "clip.txt"
    result.parent.mkdir(parents=True)
    encode = encoder("mot")
    result.write_bytes(b"".join(piece for each in records(samples, ids) for piece in encode(each)))
    quiet = {"PRINT_CONFIG": False}
    data = trackeval.datasets.MotChallenge2DBox(
        {
            **quiet,
            "GT_FOLDER": str(folder / "truth"),
            "TRACKERS_FOLDER": str(folder / "results"),
            "OUTPUT_FOLDER": str(folder / "out"),
            "SEQ_INFO": {"clip": None},
            "SKIP_SPLIT_FOL": True,
            "DO_PREPROC": False,
        }
    )
    evaluator = trackeval.Evaluator(
        {
            **quiet,
            "USE_PARALLEL": False,
            "BREAK_ON_ERROR": True,
            "PRINT_RESULTS": False,
            "PLOT_CURVES": False,
            "OUTPUT_SUMMARY": False,
            "OUTPUT_DETAILED": False,
            "TIME_PROGRESS": False,
        }
    )
    metrics = [trackeval.metrics.CLEAR(quiet), trackeval.metrics.Identity(quiet)]
    found, _ = evaluator.evaluate([data], metrics)
    clip = found["MotChallenge2DBox"]["selsa"]["clip"]["pedestrian"]
    return float(clip["Identity"]["IDF1"]), int(clip["CLEAR"]["IDSW"])


def test_right_numbers_have_the_best_score_and_an_alias_is_no_switch(samples, tmp_path):
    # 4 is an alias of 2.
    ids = {0: [1] * FRAMES, 1: [2] * 6 + [4] * 6}
    assert scores(tmp_path, samples, ids) == (1.0, 0)


def test_a_switch_counts(samples, tmp_path):
    idf1, switches = scores(tmp_path, samples, {0: [1] * FRAMES, 1: [2] * 6 + [3] * 6})
    assert idf1 == pytest.approx(0.75)
    assert switches == 1
