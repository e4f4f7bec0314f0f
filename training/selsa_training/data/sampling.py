"""The frames of a training sample: a key frame and its reference frames."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from selsa_bundle.references import spread_references
from selsa_training.data.records import DataSet


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSampling:
    """The choice of reference frames in training; for test time see `whole_video_references`.

    Attributes:
        method: `bilateral_uniform` (published) draws half of them before the key frame and half after it, at
            most
            `window` away; if a side has fewer frames, all of them. `whole_clip` draws one from each of
            `count` equal parts of the clip, so that a sample spans the clip as at test time.
        count: reference frames per key frame, at most; even for `bilateral_uniform`.
        window: frames to either side, for `bilateral_uniform`.
    """

    method: Literal["bilateral_uniform", "whole_clip"] = "bilateral_uniform"
    count: int = 2
    window: int = 9

    def __post_init__(self) -> None:
        if self.count < 0 or self.window < 1:
            raise ValueError(f"count {self.count} and window {self.window}: need count >= 0 and window >= 1")
        if self.method == "bilateral_uniform" and self.count % 2:
            raise ValueError(f"bilateral_uniform takes an even number of reference frames, not {self.count}")


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """One sample, before any image is read.

    Attributes:
        frames: numbers of the key frame and then of its reference frames, in temporal order.
        flip: mirror all frames.
    """

    frames: tuple[int, ...]
    flip: bool


# Makes these random numbers independent of others with the same seed.
_SAMPLES: Final = 1


def sample_random(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one sample; they depend on the arguments only."""
    return np.random.default_rng([_SAMPLES, seed, epoch, index])


def plan_sample(
    data: DataSet, key: int, sampling: ReferenceSampling, random: np.random.Generator, *, flip: float = 0.5
) -> SamplePlan:
    """Draw the reference frames of a key frame, and whether to mirror the sample.

    A still is its own reference, `count` times (the published recipe for ImageNet DET), and so is the only
    frame of a video. The first and the last frame of a video have references on one side only, so they get
    half as many. Source: mmtracking 0.14 `CocoVideoDataset.ref_img_sampling`.

    Args:
        key: number of the key frame in it.
        sampling: settings of the choice.
        random: source of random numbers; see `sample_random`.
        flip: probability of mirroring.
    """
    frames = data.frames_of(data.video_of(key))
    mirrored = bool(random.random() < flip)
    if len(frames) == 1:
        return SamplePlan((key,) * (1 + sampling.count), mirrored)
    draw = _bilateral if sampling.method == "bilateral_uniform" else _whole_clip
    return SamplePlan((key, *sorted(draw(frames, key, sampling, random))), mirrored)


def whole_video_references(data: DataSet, video: int, count: int = 14) -> list[int]:
    """Frame numbers of the reference frames of a whole video at test time, evenly spread (adaptive stride).

    The published protocol; a key frame is added to them as its own last reference.
    """
    frames = data.frames_of(video)
    return [frames[index] for index in spread_references(len(frames), count)]


def _bilateral(
    frames: range, key: int, sampling: ReferenceSampling, random: np.random.Generator
) -> list[int]:
    """Half from each side without repetition; fewer if a side has fewer frames."""
    before = range(max(frames.start, key - sampling.window), key)
    after = range(key + 1, min(frames.stop, key + sampling.window + 1))
    drawn = []
    for side in (before, after):
        count = min(sampling.count // 2, len(side))
        drawn += [int(frame) for frame in random.choice(side, count, replace=False)] if count else []
    return drawn


def _whole_clip(
    frames: range, key: int, sampling: ReferenceSampling, random: np.random.Generator
) -> list[int]:
    """One from each equal part of the clip without its key frame; an empty part repeats a neighbour."""
    others = [frame for frame in frames if frame != key]
    edges = np.linspace(0, len(others), sampling.count + 1)
    places = edges[:-1] + random.random(sampling.count) * np.diff(edges)
    return [others[min(int(place), len(others) - 1)] for place in places]
