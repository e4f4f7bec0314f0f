"""Tracks beside those of ByteTrack, from the same detections: HOTA, IDF1, MOTA and switches.

    pip install 'selsa[tracks-evaluation]' trackers
    python -m benchmarks.tracks.bytetrack MODEL DATA [DATA ...] [--mode sequence]

ByteTrack is that of Roboflow's `trackers`. It gets the detections twice: as they are, and after the same
suppression that our tracker begins with: one object is one detection, whatever its classes. Ours runs without
appearance, as `selsa evaluate --tracks` does; it looks ahead only where the table says so.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import supervision
from trackers import ByteTrackTracker

from benchmarks.tracks.found_tracks import FoundSet
from selsa_bundle.tracks.observation import Observation
from selsa_bundle.tracks.track import Track
from selsa_bundle.tracks.tracker import Tracker
from selsa_training.evaluation.metrics.tracking import Numbered, score_tracks, track_table

RETURNED: Final = 0.05
LOOK_AHEAD: Final = 8
Link = Callable[[Sequence[Observation]], list[Numbered]]


def ours(frames: Sequence[Observation], look_ahead: int = 0) -> list[Numbered]:
    """Our tracker; `look_ahead` frames later a number is final."""
    tracker = Tracker()
    seen, out = list[tuple[Any, list[Track | None]]](), list[Numbered]()
    ended: list[Observation | None] = [None] * look_ahead
    for frame in [*frames, *ended]:
        if frame is not None:
            seen.append((frame.boxes, tracker.update(frame)))
        if len(out) < len(seen) and (len(seen) > look_ahead or frame is None):
            boxes, tracks = seen[len(out)]
            numbers = np.array([0 if track is None else track.id or 0 for track in tracks], np.int64)
            out.append((boxes[numbers > 0], numbers[numbers > 0]))
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


LINKS: Final[dict[str, Link]] = {
    "ours, causal": ours,
    f"ours, {LOOK_AHEAD} frames ahead": lambda frames: ours(frames, LOOK_AHEAD),
    "ByteTrack": lambda frames: byte_track(frames, suppressed=False),
    "ByteTrack, suppressed": lambda frames: byte_track(frames, suppressed=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--mode", choices=("sequence", "online"), default="sequence")
    given = parser.parse_args()
    for path in given.data:
        of = FoundSet.of(given.model, path, given.mode)
        videos = [[each.take(np.flatnonzero(each.scores >= RETURNED)) for each in v] for v in of.videos()]
        frames = [of.data.frames_of(video) for video in range(of.data.video_count)]
        linked = {
            name: score_tracks(of.data, frames, [link(v) for v in videos]) for name, link in LINKS.items()
        }
        print(f"{path.name}\n{track_table(linked)}\n", flush=True)


if __name__ == "__main__":
    main()
