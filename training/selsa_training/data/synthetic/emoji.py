"""Sprites from a colour-emoji font: Noto Color Emoji (OFL 1.1), Debian's package fonts-noto-color-emoji.

No Python package provides the font, so it is searched in the usual system folders.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from selsa_training.data.errors import DataError
from selsa_training.data.synthetic.sprites import SpriteSet

# The nearest emoji to each class of ImageNet VID: deer for antelope, raccoon for red panda.
EMOJI: Final[dict[str, str]] = {
    "airplane": "\u2708",
    "antelope": "\U0001f98c",
    "bear": "\U0001f43b",
    "bicycle": "\U0001f6b2",
    "bird": "\U0001f426",
    "bus": "\U0001f68c",
    "car": "\U0001f697",
    "cattle": "\U0001f404",
    "dog": "\U0001f415",
    "domestic_cat": "\U0001f408",
    "elephant": "\U0001f418",
    "fox": "\U0001f98a",
    "giant_panda": "\U0001f43c",
    "hamster": "\U0001f439",
    "horse": "\U0001f40e",
    "lion": "\U0001f981",
    "lizard": "\U0001f98e",
    "monkey": "\U0001f412",
    "motorcycle": "\U0001f3cd",
    "rabbit": "\U0001f407",
    "red_panda": "\U0001f99d",
    "sheep": "\U0001f411",
    "snake": "\U0001f40d",
    "squirrel": "\U0001f43f",
    "tiger": "\U0001f405",
    "train": "\U0001f686",
    "turtle": "\U0001f422",
    "watercraft": "\u26f5",
    "whale": "\U0001f40b",
    "zebra": "\U0001f993",
}

PLACES: Final = (
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-color-emoji-fonts/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf",
    "/usr/local/share/fonts/NotoColorEmoji.ttf",
    "~/.local/share/fonts/NotoColorEmoji.ttf",
)
# The one size of its bitmaps (CBDT), which are 136 pixels wide and 128 high.
BITMAP_SIZE: Final = 109
CANVAS: Final = 160


def find_emoji_font() -> Path | None:
    """Path of the font on this system; None if it is not installed."""
    return next((path for place in PLACES if (path := Path(place).expanduser()).is_file()), None)


def load_emoji(font: Path) -> SpriteSet:
    """A sprite for each class of ImageNet VID.

    Raises:
        DataError: the font cannot be read, has no colour bitmaps of the right size, or lacks an emoji.
    """
    try:
        face = ImageFont.truetype(font, BITMAP_SIZE)
        images = {name: draw_emoji(face, character) for name, character in EMOJI.items()}
    except OSError as error:
        raise DataError(f"{font} cannot be used as a colour-emoji font: {error}") from error
    blank = draw_emoji(face, "\ue000")
    for name, image in images.items():
        if not image[..., 3].any() or np.array_equal(image, blank):
            raise DataError(f"{font} has no emoji U+{ord(EMOJI[name]):04X} for {name}")
    # Some of Noto's emoji are grey, such as the sheep. If all are grey, the font has only outlines.
    if not any(np.ptp(image[..., :3], axis=2).any() for image in images.values()):
        raise DataError(f"{font} has no colours")
    return SpriteSet.of(f"font {font.name}", {name: [image] for name, image in images.items()})


def draw_emoji(face: ImageFont.FreeTypeFont, character: str) -> npt.NDArray[np.uint8]:
    """uint8 [CANVAS, CANVAS, 4], RGBA: a character of a colour-emoji font of `BITMAP_SIZE`."""
    canvas = Image.new("RGBA", (CANVAS, CANVAS), (0, 0, 0, 0))
    ImageDraw.Draw(canvas).text((4, 4), character, font=face, embedded_color=True)
    return np.asarray(canvas)
