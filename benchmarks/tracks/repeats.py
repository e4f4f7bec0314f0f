"""What equal frames save: the same pipeline with and without the reuse of results, in alternating pairs.

    python -m benchmarks.tracks.repeats BUNDLE [--frames 60] [--pairs 5]

The clip is written here: the procedural one of `selsa bench`, each picture shown once, and each shown five
times, as lossless H.264 and as ffv1. `times` is the processor time without reuse over that with it.
"""

import argparse
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from unittest.mock import patch

import av

from benchmarks.tracks.clips import pipeline_of
from selsa_bundle.default_bundle import bundle_folder
from selsa_bundle.preprocess import PreparedFrame
from selsa_server.bench.sample_video import write_sample_video
from selsa_server.pipeline.inference import Repeats
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.schema.detect import DetectParams

SIZE = (640, 360)
CODECS = {"H.264": ("libx264", "yuv444p", {"qp": "0"}), "ffv1": ("ffv1", "yuv420p", {})}


def write_clip(path: Path, frames: int, shown: int, codec: str) -> None:
    """A clip of `frames` frames whose pictures are shown `shown` times each."""
    name, pixels, options = CODECS[codec]
    with TemporaryDirectory() as folder, av.open(str(path), "w") as out:
        source = Path(folder) / "source.mp4"
        write_sample_video(source, -(-frames // shown), width=SIZE[0], height=SIZE[1])
        stream = out.add_stream(name, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, pixels
        with av.open(str(source)) as pictures:
            for number, picture in enumerate(pictures.decode(video=0)):
                for turn in range(shown):
                    picture.pts, picture.time_base = number * shown + turn, Fraction(1, 25)
                    out.mux(stream.encode(picture))
        out.mux(stream.encode(None))


def all_new(_: Repeats, frames: Sequence[PreparedFrame]) -> tuple[list[int], list[int]]:
    """`Repeats.places` without comparing: every frame is computed."""
    return list(range(len(frames))), list(range(len(frames)))


def seconds(pipeline: DetectionPipeline, clip: Path) -> float:
    """Processor seconds of one run."""
    started = time.process_time()
    for _ in pipeline.run(clip, DetectParams()):
        pass
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=bundle_folder)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=5)
    given = parser.parse_args()
    pipeline = pipeline_of(given.bundle)
    with TemporaryDirectory() as folder:
        for codec in CODECS:
            for shown in (1, 5):
                clip = Path(folder) / "clip.mkv"
                write_clip(clip, given.frames, shown, codec)
                seconds(pipeline, clip)
                times = []
                for _ in range(given.pairs):
                    with patch.object(Repeats, "places", all_new):
                        without = seconds(pipeline, clip)
                    times.append(without / seconds(pipeline, clip))
                print(
                    f"{codec}, each picture {shown} times: {median(times):.3f} "
                    f"({min(times):.3f} to {max(times):.3f})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
