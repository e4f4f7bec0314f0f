"""Settings of a synthetic data set. Settings and sprites determine every byte of it."""

from dataclasses import dataclass
from typing import Literal

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradationRanges:
    """Bursts of degraded frames, and the strength of each effect. Lengths are shares of an object's size.

    Attributes:
        share: share of a clip's frames that are degraded.
        burst: frames in one burst, inclusive.
        effects: number of different effects on one object in one burst, inclusive. A model did not learn from
            data with three strong effects in every burst.
        blur: standard deviation of defocus.
        motion_blur: length of the smear.
        occlusion: share of the box that is covered.
        fade: share of the opacity that is lost.
        tint: share by which colours move to one random colour.
    """

    share: float = 0.55
    burst: tuple[int, int] = (2, 8)
    effects: tuple[int, int] = (1, 3)
    blur: Range = (0.05, 0.13)
    motion_blur: Range = (0.15, 0.6)
    occlusion: Range = (0.3, 0.55)
    fade: Range = (0.25, 0.55)
    tint: Range = (0.5, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSettings:
    """A whole data set.

    Attributes:
        seed: seed of all random choices.
        train_clips: clips in `train`.
        val_clips: clips in `val`, which has other clips with the same sprites.
        length: frames per clip.
        height: of a frame, in pixels.
        width: of a frame, in pixels.
        objects: objects per clip, inclusive, all of different classes.
        size: long side of an object at the clip's beginning, in shares of the frame's short side.
        slow: pixels a frame, at a height of 192; likewise `medium` and `fast`. An object is one of the three.
        medium: see `slow`.
        fast: see `slow`.
        degradation: bursts and effects.
        image_format: of the frames. JPEG has artefacts like real video; PNG is lossless and four times as
            large.
        jpeg_quality: 1 to 100.
    """

    seed: int = 0
    train_clips: int = 1200
    val_clips: int = 120
    length: int = 32
    height: int = 192
    width: int = 320
    objects: tuple[int, int] = (1, 3)
    size: Range = (0.2, 0.5)
    slow: Range = (0.0, 0.25)
    medium: Range = (0.35, 1.0)
    fast: Range = (2.2, 9.0)
    degradation: DegradationRanges = DegradationRanges()
    image_format: Literal["jpg", "png"] = "jpg"
    jpeg_quality: int = 85

    def __post_init__(self) -> None:
        limits = {
            "seed": (self.seed, 0, 2**32 - 1),
            "train_clips": (self.train_clips, 0, 99_999),
            "val_clips": (self.val_clips, 0, 99_999),
            "length": (self.length, 1, 10_000),
            "height": (self.height, 32, 4096),
            "width": (self.width, 32, 4096),
            "jpeg_quality": (self.jpeg_quality, 1, 100),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}, allowed are {low} to {high}")
        if self.train_clips + self.val_clips < 1:
            raise ValueError("train_clips and val_clips are both 0")
