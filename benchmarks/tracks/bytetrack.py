"""Tracks of the pipeline beside those of ByteTrack on the same detections: HOTA, IDF1, MOTA and switches.

    pip install 'selsa[tracks-evaluation]' trackers
    python -m benchmarks.tracks.bytetrack BUNDLE DATA [DATA ...]
    python -m benchmarks.tracks.bytetrack BUNDLE --video clip.mp4 --truth gt.txt --class person

ByteTrack is that of Roboflow's `trackers`. It gets the detections twice: as they are, and after the same
suppression that our tracker starts with: one object is one detection, whatever its classes. A data set has
any layout that `selsa check-data` knows; the truth of a video is in the MOTChallenge format. `selsa` is what
`/detect?tracks=true` answers; in online mode it is causal. `without appearance` is what a bundle without
the output `proposals` gives, causal.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import supervision
from trackers import ByteTrackTracker

from benchmarks.tracks.clips import Clip, answered, labelled_clips, mot_clip, pipeline_of
from selsa_bundle.default_bundle import bundle_folder
from selsa_bundle.tracks.observation import Observation
from selsa_bundle.tracks.tracker import Tracker
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.schema.detect import DetectParams
from selsa_training.evaluation.metrics.tracking import Numbered, score_tracks, track_table

MODES: Final = ("sequence", "online")


def by_position(frames: Sequence[Observation]) -> list[Numbered]:
    """Our tracker without appearance, causal."""
    tracker, out = Tracker(), list[Numbered]()
    for frame in frames:
        tracks = tracker.update(frame)
        numbers = np.array([0 if track is None else track.id or 0 for track in tracks], np.int64)
        out.append((frame.boxes[numbers > 0], numbers[numbers > 0]))
    return out


def byte_track(frames: Sequence[Observation], *, suppressed: bool) -> list[Numbered]:
    """ByteTrack with its default values."""
    theirs, choose, out = ByteTrackTracker(), Tracker(), list[Numbered]()
    for frame in frames:
        used = frame.take(np.flatnonzero(choose.usable(frame))) if suppressed else frame
        found = supervision.Detections(
            xyxy=used.boxes.copy(), confidence=used.scores.copy(), class_id=used.labels.copy()
        )
        tracked = theirs.update(found)
        numbers = np.asarray(tracked.tracker_id if len(tracked) else [], np.int64)
        out.append((tracked.xyxy[numbers >= 0].astype(np.float32), numbers[numbers >= 0] + 1))
    return out


def table(pipeline: DetectionPipeline, clips: Iterable[Clip], classes: tuple[str, ...]) -> str:
    """Every way to link, in both modes, over all clips."""
    truth, linked = list[Sequence[Numbered]](), dict[str, list[Sequence[Numbered]]]()
    for clip in clips:
        truth.append(clip.truth)
        for mode in MODES:
            params = DetectParams(mode=mode, tracks=True, classes=classes)
            answer = answered(pipeline, clip, params)
            ways = {
                "selsa": answer.tracks,
                "without appearance": by_position(answer.frames),
                "ByteTrack": byte_track(answer.frames, suppressed=False),
                "ByteTrack, suppressed": byte_track(answer.frames, suppressed=True),
            }
            for name, tracks in ways.items():
                linked.setdefault(f"{mode}: {name}", []).append(tracks)
    return track_table({name: score_tracks(truth, tracks) for name, tracks in linked.items()})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=bundle_folder)
    parser.add_argument("data", type=Path, nargs="*")
    parser.add_argument("--video", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--class", dest="classes", action="append", default=[])
    given = parser.parse_args()
    pipeline, classes = pipeline_of(given.bundle), tuple(given.classes)
    for path in given.data:
        with TemporaryDirectory() as folder:
            print(
                f"{path.name}\n{table(pipeline, labelled_clips(path, Path(folder)), classes)}\n", flush=True
            )
    if given.video:
        print(f"{given.video.name}\n{table(pipeline, [mot_clip(given.video, given.truth)], classes)}")


if __name__ == "__main__":
    main()
