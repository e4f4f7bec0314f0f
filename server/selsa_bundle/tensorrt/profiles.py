"""Optimisation profiles: the ranges of shapes that an engine is built for, and the choice for a call.

A profile is tuned for one shape and holds memory for its largest. So frames have one profile per bucket of
sizes and per batch size: a single frame does not use kernels tuned for eight, nor a wide frame those for a
tall one. A call takes the first profile that fits; they are ordered from special to general.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from selsa_bundle.contract import Dimensions, EngineName, TensorSpec, contract_for
from selsa_bundle.preprocess import Preprocess

# Frames smaller than this are rare (a very narrow video); they share one profile.
SMALL_SIDE: Final = 256
# Reference frames that several key frames at once, and one alone, can have.
SHARED_REFERENCES: Final = 30
MOST_REFERENCES: Final = 64


@dataclass(frozen=True, slots=True)
class Range:
    """A dynamic dimension in a profile: smallest, tuned for, largest."""

    low: int
    best: int
    high: int

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.best <= self.high:
            raise ValueError(f"a range must rise from above 0, got {self.low}, {self.best}, {self.high}")

    def __contains__(self, size: int) -> bool:
        """Whether a size lies in it."""
        return self.low <= size <= self.high


@dataclass(frozen=True, slots=True)
class Profile:
    """One range for every dynamic dimension of an engine: B, H and W of frames; B and R of sequences."""

    name: str
    sizes: Mapping[str, Range]

    def fits(self, sizes: Mapping[str, int]) -> bool:
        """Whether a call with these dynamic dimensions fits."""
        return all(sizes[letter] in bounds for letter, bounds in self.sizes.items())

    @property
    def batch(self) -> int:
        """The most frames at once."""
        return self.sizes["B"].high

    def shapes(self, spec: TensorSpec) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Smallest, tuned for and largest shape of a tensor."""
        low, best, high = (
            tuple(getattr(self.sizes[size], end) if isinstance(size, str) else size for size in spec.shape)
            for end in ("low", "best", "high")
        )
        return low, best, high

    def describe(self) -> dict[str, Any]:
        """As JSON, for the key of a cached engine."""
        sizes = {letter: [r.low, r.best, r.high] for letter, r in sorted(self.sizes.items())}
        return {"name": self.name, "sizes": sizes}


def frame_profiles(preprocess: Preprocess, max_batch: int) -> tuple[Profile, ...]:
    """Profiles for every size that preparing a frame can give: B = 1 and B up to `max_batch` of each bucket.

    Raises:
        ValueError: `max_batch` is not positive.
    """
    short, long = (preprocess.padded_size(side, side)[0] for side in _sides(preprocess))
    unit = preprocess.size_multiple
    # Most videos are 16:9; no bucket is tuned for less than its smallest side.
    tuned = preprocess.padded_size(*preprocess.resized_size(1080, 1920))
    middle = min(max(short, unit), long)
    least = min(max(SMALL_SIDE // unit * unit, unit), short)
    wide = (
        Range(least, min(max(tuned[0], least), short), short),
        Range(middle, min(max(tuned[1], middle), long), long),
    )
    buckets = (
        ("wide", *wide),
        ("tall", wide[1], wide[0]),
        ("any", Range(unit, wide[0].best, long), Range(unit, wide[0].best, long)),
    )
    return tuple(
        Profile(f"{name}-{batch.high}", {"B": batch, "H": height, "W": width})
        for name, height, width in buckets
        for batch in _batches(max_batch)
    )


def sequence_profiles(dims: Dimensions, reference_frames: int, max_batch: int) -> tuple[Profile, ...]:
    """Profiles for one key frame and for several that share a bank, tuned for `reference_frames`.

    One key frame may have a larger bank than several: memory grows with both.
    """
    rows, profiles = dims.bank_rows, []
    for batch in _batches(max_batch):
        most = MOST_REFERENCES if batch.high == 1 else SHARED_REFERENCES
        best = min(max(reference_frames, 1), most)
        bank = Range(rows, best * rows, most * rows)
        profiles.append(Profile(f"keys-{batch.high}", {"B": batch, "R": bank}))
    return tuple(profiles)


def choose_profile(profiles: Sequence[Profile], sizes: Mapping[str, int]) -> int | None:
    """Index of the first profile that fits, or None."""
    return next((index for index, profile in enumerate(profiles) if profile.fits(sizes)), None)


def tensor_bytes(engine: EngineName, dims: Dimensions, profile: Profile) -> dict[str, int]:
    """Bytes of every input and output of an engine at the profile's largest shape."""
    contract = contract_for(engine, dims)
    return {
        spec.name: int(np.prod(profile.shapes(spec)[2], dtype=np.int64)) * np.dtype(spec.dtype).itemsize
        for spec in (*contract.inputs, *contract.outputs)
    }


def _sides(preprocess: Preprocess) -> tuple[int, int]:
    sides = preprocess.short_side, preprocess.long_side
    return min(sides), max(sides)


def _batches(max_batch: int) -> tuple[Range, ...]:
    if max_batch < 1:
        raise ValueError(f"a batch of {max_batch} frames; allowed is 1 or more")
    one = Range(1, 1, 1)
    return (one,) if max_batch == 1 else (one, Range(1, max_batch, max_batch))
