"""A held-out synthetic clip as a video file: H.264 in MP4, and its objects as JSON.

    python -m benchmarks.quality.synthesize_film OUT.mp4 [--number 100004] [--truth FILE.json] [--overwrite]

`make train-default` makes the packaged sample video with it. The clip is a function of seed, sprites and
number. The bytes of the encoder are not, not even from run to run.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av

from selsa_training.cli.data import chosen_sprites
from selsa_training.data.errors import DataError
from selsa_training.data.records import IGNORED, OCCLUDED
from selsa_training.data.synthetic.clip import ClipFrame, render_clip
from selsa_training.data.synthetic.settings import SyntheticSettings


def write_film(
    path: Path, frames: Iterable[ClipFrame], *, width: int, height: int, rate: int, crf: int
) -> None:
    """Encode frames as MP4 with the index in front; the file appears complete or not at all."""
    part = path.with_name(f".{path.name}.part")
    # bitexact: no version of the writer in the file.
    front = {"movflags": "+faststart", "fflags": "+bitexact"}
    try:
        with av.open(str(part), "w", format="mp4", options=front) as container:
            stream = container.add_stream("libx264", rate=rate, options={"preset": "slow", "crf": str(crf)})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for index, frame in enumerate(frames):
                picture = av.VideoFrame.from_ndarray(frame.pixels, format="rgb24")
                picture.pts, picture.time_base = index, Fraction(1, rate)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def truth_of(frames: Sequence[ClipFrame], names: Sequence[str], rate: int) -> str:
    """The objects of every frame as JSON, a frame per line; boxes as in the wire format."""
    rows = [
        {
            "index": index,
            "time": round(index / rate, 6),
            "degraded": frame.degraded,
            "objects": [
                {
                    "box": dict(zip(("x1", "y1", "x2", "y2"), item.box, strict=True)),
                    "class_id": item.label,
                    "class_name": names[item.label],
                    "track": item.track,
                    "occluded": bool(item.flags & OCCLUDED),
                    "ignore": bool(item.flags & IGNORED),
                }
                for item in frame.objects
            ],
        }
        for index, frame in enumerate(frames)
    ]
    lines = ",\n".join(json.dumps(row) for row in rows)
    return f'{{"rate": {rate}, "classes": {json.dumps(list(names))}, "frames": [\n{lines}\n]}}\n'


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make a video of moving sprites, at times degraded.")
    parser.add_argument("output", type=Path, help="the film to make, FILE.mp4")
    parser.add_argument("--seed", type=int, default=0, help="of the data set that the clip belongs to")
    parser.add_argument("--number", type=int, default=0, help="of the clip among the held-out ones")
    parser.add_argument("--length", type=int, default=150, help="frames")
    parser.add_argument("--width", type=int, default=320, help="of a frame in pixels, even")
    parser.add_argument("--height", type=int, default=192, help="of a frame in pixels, even")
    parser.add_argument("--objects", type=int, default=3, help="objects, all of different classes")
    parser.add_argument("--rate", type=int, default=25, help="frames per second")
    parser.add_argument("--crf", type=int, default=23, help="of x264; larger is smaller and worse")
    parser.add_argument("--truth", type=Path, help="also write the objects to this file, as JSON")
    parser.add_argument("--shapes", action="store_true", help="draw simple shapes instead of emoji")
    parser.add_argument("--overwrite", action="store_true", help="replace older files")
    chosen = parser.parse_args(arguments)
    size = {"height": chosen.height, "width": chosen.width}
    if chosen.number < 0 or any(side % 2 for side in size.values()):
        parser.error(f"number {chosen.number} must be 0 or more, width and height {size} even")
    for file in (chosen.output, chosen.truth):
        if file is not None and file.exists() and not chosen.overwrite:
            parser.error(f"{file} already exists; pass --overwrite to replace it")
    try:
        objects = (chosen.objects, chosen.objects)
        settings = SyntheticSettings(seed=chosen.seed, length=chosen.length, objects=objects, **size)
        sprites = chosen_sprites(shapes=chosen.shapes)
        frames = list(render_clip(settings, sprites, "val", chosen.number))
        write_film(chosen.output, frames, rate=chosen.rate, crf=chosen.crf, **size)
    except (DataError, ValueError, OSError, av.FFmpegError) as error:
        parser.error(str(error))
    if chosen.truth is not None:
        chosen.truth.write_text(truth_of(frames, tuple(sprites.by_class), chosen.rate), encoding="utf-8")
    degraded = sum(frame.degraded for frame in frames)
    print(f"{chosen.output}: {len(frames)} frames, {degraded} degraded")


if __name__ == "__main__":
    main()
