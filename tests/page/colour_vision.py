"""How far two colours are apart, for people with normal and with dichromatic colour vision."""

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["SIMULATIONS", "distance", "luminance"]

Rgb = tuple[int, int, int]
Vector = npt.NDArray[np.float64]

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
SIMULATIONS: Final[dict[str, Vector]] = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
# OKLab (Ottosson 2020): linear RGB -> cone responses -> lightness and two axes of colour.
_CONES: Final = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_AXES: Final = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def _linear(colour: Rgb) -> Vector:
    part = np.array(colour, float) / 255
    return np.asarray(np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4), float)


def _seen(colour: Rgb, vision: str) -> Vector:
    light = np.clip(SIMULATIONS[vision] @ _linear(colour), 0, 1)
    return np.asarray(_AXES @ np.cbrt(_CONES @ light), float)


def distance(a: Rgb, b: Rgb, vision: str) -> float:
    """Distance in OKLab, 0 to about 1; 0.02 is just noticeable."""
    return float(np.linalg.norm(_seen(a, vision) - _seen(b, vision)))


def luminance(colour: Rgb) -> float:
    """Relative luminance of WCAG 2, 0 to 1."""
    return float(np.array([0.2126, 0.7152, 0.0722]) @ _linear(colour))
