"""The path of an object through a clip."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from selsa_training.data.synthetic.settings import SyntheticSettings

Array = npt.NDArray[np.float64]

# An object's centre stays this share of its size inside the frame, so that most of it is visible.
MARGIN: Final = 0.35
# The frame height that speeds refer to.
REFERENCE_HEIGHT: Final = 192
# Per speed: largest change of size, and largest rotation in degrees.
GROWTH: Final = {"slow": 0.03, "medium": 0.1, "fast": 0.25}
TURN: Final = {"slow": 1.0, "medium": 6.0, "fast": 18.0}


@dataclass(frozen=True, slots=True)
class Path:
    """T frames of one object: centre `x`, `y` and long side `size` in pixels, `angle` in degrees."""

    x: Array
    y: Array
    size: Array
    angle: Array


def draw_path(settings: SyntheticSettings, random: np.random.Generator) -> Path:
    """A path of constant speed whose direction drifts, reflected at the edges; size and angle swing."""
    speed_name = ("slow", "medium", "fast")[int(random.integers(3))]
    low, high = {"slow": settings.slow, "medium": settings.medium, "fast": settings.fast}[speed_name]
    speed = random.uniform(low, high) * settings.height / REFERENCE_HEIGHT
    short = min(settings.height, settings.width)
    base = short * float(np.exp(random.uniform(*np.log(settings.size))))
    time = np.arange(settings.length)
    heading = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, 0.08, settings.length))
    margin = base * MARGIN
    return Path(
        _bounce(speed * np.cos(heading), margin, settings.width - margin, random),
        _bounce(speed * np.sin(heading), margin, settings.height - margin, random),
        base * (1 + _swing(time, GROWTH[speed_name], random)),
        _swing(time, TURN[speed_name], random),
    )


def _bounce(steps: Array, low: float, high: float, random: np.random.Generator) -> Array:
    """Positions after each step from a random start, folded back into [low, high]."""
    span = max(high - low, 1e-6)
    free = random.uniform(0, span) + np.cumsum(steps)
    folded: Array = span - np.abs(free % (2 * span) - span)
    return low + folded


def _swing(time: npt.NDArray[np.int64], most: float, random: np.random.Generator) -> Array:
    amplitude, period, phase = random.uniform(0, most), random.uniform(20, 60), random.uniform(0, 2 * np.pi)
    swing: Array = amplitude * np.sin(2 * np.pi * time / period + phase)
    return swing
