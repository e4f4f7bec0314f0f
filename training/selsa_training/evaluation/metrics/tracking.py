"""How well detections are linked to objects: HOTA, IDF1, MOTA and switches, as trackeval computes them.

Detections are linked as the server does it, by position and motion; appearance is not used. Classes do not
matter: a box is matched with the object that it overlaps.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from selsa_bundle.tracks.geometry import overlaps
from selsa_bundle.tracks.observation import Observation
from selsa_bundle.tracks.tracker import Tracker
from selsa_training.data.records import UNKNOWN_TRACK, DataSet
from selsa_training.evaluation.errors import EvaluationError
from selsa_training.evaluation.metrics.detections import Detections

# The default score threshold of `/detect`.
LEAST_SCORE = 0.05

# Boxes [N, 4] and the numbers of their objects [N], for one frame.
Numbered = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackScores:
    """Scores of tracks in percent, and the number of identity switches."""

    hota: float
    idf1: float
    mota: float
    switches: int


def evaluate_tracks(data: DataSet, found: Detections) -> TrackScores:
    """Link detections, video by video and frame by frame, and score the tracks.

    Args:
        data: every object has a track.
        found: detections in the frames that were looked at.

    Raises:
        EvaluationError: trackeval is not installed, or the data has no tracks.
    """
    if (data.tracks == UNKNOWN_TRACK).any():
        raise EvaluationError("--tracks needs data whose every object has a track")
    frames = [_looked_at(data, found, video) for video in range(data.video_count)]
    truth = [[_objects(data, frame) for frame in each] for each in frames]
    return score_tracks(truth, [list(_linked(found, each)) for each in frames])


def score_tracks(truth: Sequence[Sequence[Numbered]], linked: Sequence[Sequence[Numbered]]) -> TrackScores:
    """Score tracks.

    Args:
        truth: of each video, the objects in each frame that was looked at.
        linked: of each video, the found boxes and their numbers in the same frames.

    Raises:
        EvaluationError: trackeval is not installed.
    """
    try:
        from trackeval.metrics import CLEAR, HOTA, Identity
    except ModuleNotFoundError as error:
        raise EvaluationError("--tracks needs trackeval: pip install 'selsa[tracks-evaluation]'") from error
    quiet = {"PRINT_CONFIG": False}
    metrics = (HOTA(), Identity(quiet), CLEAR(quiet))
    sequences = [_sequence(objects, boxes) for objects, boxes in zip(truth, linked, strict=True)]
    hota, identity, clear = (
        metric.combine_sequences({i: metric.eval_sequence(each) for i, each in enumerate(sequences)})
        for metric in metrics
    )
    return TrackScores(
        hota=100 * float(np.mean(hota["HOTA"])),
        idf1=100 * float(identity["IDF1"]),
        mota=100 * float(clear["MOTA"]),
        switches=int(clear["IDSW"]),
    )


def track_table(modes: Mapping[str, TrackScores]) -> str:
    """A line per mode."""
    lines = [f"{'tracks':33}" + "".join(f"{name:>10}" for name in ("HOTA", "IDF1", "MOTA", "switches"))]
    for mode, scores in modes.items():
        shares = "".join(f"{value:>10.1f}" for value in (scores.hota, scores.idf1, scores.mota))
        lines.append(f"{mode:33}{shares}{scores.switches:>10}")
    return "\n".join(lines)


def _looked_at(data: DataSet, found: Detections, video: int) -> list[int]:
    whole = data.frames_of(video)
    frames: list[int] = found.frames[(found.frames >= whole.start) & (found.frames < whole.stop)].tolist()
    return frames


def _sequence(truth: Sequence[Numbered], linked: Sequence[Numbered]) -> dict[str, Any]:
    """One video in trackeval's form, with consecutive numbers from 0."""
    true_ids, ids = _consecutive(truth), _consecutive(linked)
    return {
        "num_timesteps": len(truth),
        "gt_ids": true_ids,
        "tracker_ids": ids,
        "num_gt_ids": len(np.unique(np.concatenate([*true_ids, np.zeros(0, np.int64)]))),
        "num_tracker_ids": len(np.unique(np.concatenate([*ids, np.zeros(0, np.int64)]))),
        "num_gt_dets": sum(map(len, true_ids)),
        "num_tracker_dets": sum(map(len, ids)),
        "similarity_scores": [
            overlaps(boxes, others).astype(np.float64)
            for (boxes, _), (others, _) in zip(truth, linked, strict=True)
        ],
    }


def _objects(data: DataSet, frame: int) -> Numbered:
    objects = data.objects(frame)
    counted = ~objects.ignored
    return objects.boxes[counted], objects.tracks[counted]


def _linked(found: Detections, frames: list[int]) -> Iterator[Numbered]:
    tracker = Tracker()
    for index, frame in enumerate(frames):
        rows = found.rows_of(frame)
        order = np.argsort(-found.scores[rows], kind="stable")
        order = order[found.scores[rows][order] >= LEAST_SCORE]
        boxes = found.boxes[rows][order]
        seen = Observation(
            index=index,
            time=None,
            boxes=boxes,
            scores=found.scores[rows][order],
            labels=found.labels[rows][order],
        )
        numbers = np.array(
            [0 if track is None else track.id or 0 for track in tracker.update(seen)], np.int64
        )
        yield boxes[numbers > 0], numbers[numbers > 0]


def _consecutive(frames: Sequence[Numbered]) -> list[npt.NDArray[np.int64]]:
    known = np.unique(np.concatenate([*(numbers for _, numbers in frames), np.zeros(0, np.int64)]))
    return [np.searchsorted(known, numbers) for _, numbers in frames]
