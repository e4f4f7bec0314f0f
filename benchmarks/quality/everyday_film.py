"""A film of three shots: person AP50 of its labelled shot, in the film and alone, through the whole pipeline.

    python -m benchmarks.quality.everyday_film --video clip.mp4 --truth gt.txt --before a.mp4 --after b.mp4
        [--dissolve 12]

The truth is as for `everyday_quality.py`, and so is the damage, which the labelled shot alone has. The other
shots are scaled to the labelled one's size. Films are written without loss. With a dissolve the labelled
frames that fade are not scored, neither in the film nor alone.
"""

import argparse
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.quality.everyday_quality import SETTINGS, Found, Ranked, damaged, read_truth
from selsa_bundle.default_bundle import bundle_folder
from selsa_server.pipeline.local import local_pipeline
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.schema.detect import DetectParams, FrameRecord
from selsa_training.everyday_training.clips import read_clip

Image = npt.NDArray[np.uint8]
RATE: Final = 25
MODES: Final = ("sequence", "online")


def write_film(path: Path, frames: Sequence[Image]) -> None:
    """Frames uint8 [h, w, 3] RGB, as FFV1 in RGB."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        stream.pix_fmt, stream.time_base = "bgr0", Fraction(1, RATE)
        stream.height, stream.width = frames[0].shape[:2]
        for position, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="bgr0")
            frame.pts, frame.time_base = position, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def joined(one: Sequence[Image], other: Sequence[Image], dissolve: int) -> list[Image]:
    """One shot after the other; with a dissolve, the last frames of one fade into the first of the other."""
    if not dissolve:
        return [*one, *other]
    shares = np.linspace(0, 1, dissolve + 2)[1:-1]
    mixed = [
        cv2.addWeighted(a, 1 - share, b, share, 0).astype(np.uint8, copy=False)
        for a, b, share in zip(one[-dissolve:], other[:dissolve], shares, strict=True)
    ]
    return [*one[:-dissolve], *mixed, *other[dissolve:]]


def persons(pipeline: DetectionPipeline, film: Path, mode: str, first: int, count: int) -> list[Found]:
    """Persons of `count` frames from `first` on."""
    params = DetectParams(mode=mode, score_threshold=0.01, classes=("person",))
    found = []
    for record in pipeline.run(film, params):
        if isinstance(record, FrameRecord) and first <= record.index < first + count:
            boxes = [[d.box.x1, d.box.y1, d.box.x2, d.box.y2] for d in record.detections]
            scores = np.array([d.score for d in record.detections], np.float32)
            found.append((np.array(boxes, np.float32).reshape(-1, 4), scores))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=bundle_folder)
    for name in ("--video", "--truth", "--before", "--after"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--dissolve", type=int, default=0, help="frames of a dissolve; 0: cuts")
    given = parser.parse_args()
    shot = read_clip(given.video)
    truth = read_truth(given.truth, len(shot))
    height, width = shot[0].shape[:2]
    before, after = (
        [
            np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            for frame in read_clip(path)
        ]
        for path in (given.before, given.after)
    )
    pipeline = local_pipeline(given.bundle, print, {})
    fade = given.dissolve
    scored = slice(fade, len(shot) - fade)
    truth = truth[scored]
    print(f"{len(before)}, {len(shot)} and {len(after)} frames")
    print("| setting | mode | shot alone | in the film |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mkv"
        for setting, seeds in SETTINGS.items():
            scores: dict[str, list[list[float]]] = {mode: [] for mode in MODES}
            for seed in seeds:
                labelled = damaged(shot, setting, seed)
                for mode in MODES:
                    row = []
                    film = joined(joined(before, labelled, fade), after, fade)
                    for frames, first in ((labelled, fade), (film, len(before))):
                        write_film(path, frames)
                        found = persons(pipeline, path, mode, first, len(truth))
                        row.append(Ranked.of(found, truth).ap50)
                    scores[mode].append(row)
            for mode in MODES:
                alone, film = np.mean(scores[mode], 0)
                print(f"| {setting} | {mode} | {alone:.1f} | {film:.1f} |", flush=True)


if __name__ == "__main__":
    main()
