"""Labelled videos of five things that the packaged model has never seen, as a labelling tool leaves them.

    python -m benchmarks.quality.own_objects OUT --clips 40

writes OUT/clip00.mp4 and its labels OUT/clip00.xml in the form of "CVAT for video 1.1", and so on. The things
are emoji (shapes where no emoji font is installed) that move and are at times degraded, as in
`selsa synthesize`.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from xml.sax.saxutils import quoteattr

import av
import numpy as np
from PIL import ImageFont

from selsa_training.data.records import OCCLUDED
from selsa_training.data.synthetic.clip import ClipFrame, render_clip
from selsa_training.data.synthetic.drawn import draw_shapes
from selsa_training.data.synthetic.emoji import BITMAP_SIZE, draw_emoji, find_emoji_font
from selsa_training.data.synthetic.settings import SyntheticSettings
from selsa_training.data.synthetic.sprites import SpriteSet

RATE: Final = 25
THINGS: Final = {
    "rocket": "\U0001f680",
    "guitar": "\U0001f3b8",
    "umbrella": "\u2602",
    "pizza": "\U0001f355",
    "lamp": "\U0001f3ee",
}


def sprites() -> SpriteSet:
    """Emoji, or shapes of the same names."""
    font = find_emoji_font()
    if font is None:
        return draw_shapes(tuple(THINGS))
    face = ImageFont.truetype(font, BITMAP_SIZE)
    return SpriteSet.of(
        f"font {font.name}", {name: [draw_emoji(face, sign)] for name, sign in THINGS.items()}
    )


def write_clip(folder: Path, number: int, settings: SyntheticSettings, things: SpriteSet) -> None:
    """A video and its label file."""
    name = f"clip{number:02d}"
    frames = list(render_clip(settings, things, "train", number))
    with av.open(str(folder / f"{name}.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "18", "g": "12"})
        stream.width, stream.height, stream.pix_fmt = settings.width, settings.height, "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.pixels), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    text = "".join(cvat_xml(f"{name}.mp4", frames, list(things.by_class)))
    (folder / f"{name}.xml").write_text(text, encoding="utf-8")


def cvat_xml(video: str, frames: list[ClipFrame], names: list[str]) -> Iterable[str]:
    """A box per object and frame; an object that is not seen in a frame is outside there."""
    labels = "".join(f"<label><name>{name}</name></label>" for name in names)
    yield (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta><task>\n'
        f"<name>{video}</name><start_frame>0</start_frame><stop_frame>{len(frames) - 1}</stop_frame>\n"
        f"<labels>{labels}</labels><source>{video}</source>\n</task></meta>\n"
    )
    tracks = {(item.track, item.label) for frame in frames for item in frame.objects}
    for number, (track, label) in enumerate(sorted(tracks)):
        yield f'<track id="{number}" label={quoteattr(names[label])}>\n'
        last = None
        for time, frame in enumerate(frames):
            item = next((each for each in frame.objects if each.track == track), None)
            if item is None and last is None:
                continue
            seen, last = item is not None, item or last
            assert last is not None
            corners = dict(zip(("xtl", "ytl", "xbr", "ybr"), last.box, strict=True))
            places = " ".join(f'{corner}="{value:.2f}"' for corner, value in corners.items())
            occluded = int(bool(last.flags & OCCLUDED))
            yield (
                f'<box frame="{time}" keyframe="1" outside="{int(not seen)}" occluded="{occluded}" '
                f'{places} z_order="0"></box>\n'
            )
        yield "</track>\n"
    yield "</annotations>\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--length", type=int, default=32, help="frames per clip")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    settings = SyntheticSettings(
        seed=options.seed, train_clips=options.clips, val_clips=0, length=options.length
    )
    options.output.mkdir(parents=True, exist_ok=True)
    things = sprites()
    for number in range(options.clips):
        write_clip(options.output, number, settings, things)
    print(f"{options.clips} videos with labels in {options.output}")


if __name__ == "__main__":
    main()
