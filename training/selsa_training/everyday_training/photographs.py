"""Training clips made of photographs: gentle camera motion over one, with parts of others moving through it.

`docs/everyday-model/README.md` lists every photograph with its author and licence. None is in this
repository: they are read from the packages that hold them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from selsa_bundle.files.stored_file import sha256_of

Image = npt.NDArray[np.uint8]
FRAMES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """A file of a package, pinned by its hash.

    Attributes:
        file: path below the folder that the package was unpacked to.
        sha256: of the file.
        part: an object in it, (left, top, right, bottom) as shares of width and height, which is moved
            through other photographs.
    """

    file: str
    sha256: str
    part: tuple[float, float, float, float] | None = None


PHOTOGRAPHS: Final[Mapping[str, Photograph]] = {
    "astronaut": Photograph(
        file="skimage/data/astronaut.png",
        sha256="88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        part=(0.1, 0.0, 0.9, 1.0),
    ),
    "camera": Photograph(
        file="skimage/data/camera.png",
        sha256="b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        part=(0.15, 0.08, 0.75, 1.0),
    ),
    "chelsea": Photograph(
        file="skimage/data/chelsea.png",
        sha256="596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        part=(0.15, 0.0, 0.75, 1.0),
    ),
    "coffee": Photograph(
        file="skimage/data/coffee.png",
        sha256="cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        part=(0.2, 0.05, 0.85, 0.85),
    ),
    "rocket": Photograph(
        file="skimage/data/rocket.jpg",
        sha256="c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    ),
    "china": Photograph(
        file="sklearn/datasets/images/china.jpg",
        sha256="8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
    ),
    "flower": Photograph(
        file="sklearn/datasets/images/flower.jpg",
        sha256="a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
    ),
}


def read_photographs(folder: Path) -> dict[str, Image]:
    """The photographs as uint8 [h, w, 3] BGR.

    Raises:
        ValueError: a file is missing or not the one that is pinned; the message names it.
    """
    found = {}
    for name, photograph in PHOTOGRAPHS.items():
        path = folder / photograph.file
        if not path.is_file() or sha256_of(path) != photograph.sha256:
            raise ValueError(f"{path} is missing or has another checksum; run `selsa fetch-everyday`")
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert image is not None
        found[name] = image.astype(np.uint8, copy=False)
    return found


def photograph_clips(photographs: Mapping[str, Image], random: np.random.Generator) -> dict[str, list[Image]]:
    """Two clips of each photograph, one of them with a part of another one moving through it."""
    parts = {name: each.part for name, each in PHOTOGRAPHS.items() if each.part is not None}
    clips = {}
    for name, image in photographs.items():
        clips[f"{name}-gentle"] = moving_clip(image, random)
        other = str(random.choice([each for each in parts if each != name]))
        left, top, right, bottom = parts[other]
        height, width = photographs[other].shape[:2]
        pasted = photographs[other][
            int(top * height) : int(bottom * height), int(left * width) : int(right * width)
        ]
        clips[f"{name}-with-{other}"] = moving_clip(image, random, pasted)
    return clips


def moving_clip(
    image: Image, random: np.random.Generator, pasted: Image | None = None, frames: int = FRAMES
) -> list[Image]:
    """A few frames of a camera that drifts, turns and comes closer, 640 pixels wide at most.

    Args:
        image: uint8 [h, w, 3].
        random: source of the motion.
        pasted: uint8 [h, w, 3], moves through the picture on a path of its own.
        frames: number of frames.
    """
    scale = min(1.0, 640 / max(image.shape[:2]))
    height, width = (max(32, int(side * scale)) for side in image.shape[:2])
    base = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    path = _Path(random, width, height)
    other = None if pasted is None else _Pasted(pasted, random, width, height)
    clip = []
    for index in range(frames):
        share = index / max(1, frames - 1)
        canvas = base if other is None else other.onto(base, share)
        matrix = path.at(share)
        clip.append(
            cv2.warpAffine(
                canvas, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
            ).astype(np.uint8, copy=False)
        )
    return clip


class _Path:
    """Camera motion: from one place to another, with a tremor."""

    def __init__(self, random: np.random.Generator, width: int, height: int) -> None:
        self._size = (width, height)
        self._ends = [
            (
                random.uniform(-0.05, 0.05),
                random.uniform(-0.04, 0.04),
                random.uniform(1.05, 1.25),
                random.uniform(-2, 2),
            )
            for _ in range(2)
        ]
        self._phases = random.uniform(0, 2 * np.pi, 2)

    def at(self, share: float) -> npt.NDArray[np.float64]:
        width, height = self._size
        ease = 0.5 - 0.5 * np.cos(np.pi * share)
        dx, dy, zoom, angle = (a + (b - a) * ease for a, b in zip(*self._ends, strict=True))
        tremor = 0.004 * np.sin(2 * np.pi * np.array([2.3, 3.1]) * share + self._phases)
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, zoom)
        matrix[:, 2] += (dx + tremor[0]) * width, (dy + tremor[1]) * height
        return np.asarray(matrix, np.float64)


class _Pasted:
    """A part of another photograph with soft edges, on a straight path."""

    def __init__(self, image: Image, random: np.random.Generator, width: int, height: int) -> None:
        tall = random.uniform(0.35, 0.7) * height
        factor = min(tall / image.shape[0], 0.6 * width / image.shape[1])
        size = max(16, int(image.shape[1] * factor)), max(16, int(image.shape[0] * factor))
        self._image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        soft = np.zeros((size[1], size[0]), np.float32)
        edge = max(2, min(size) // 14)
        soft[edge:-edge, edge:-edge] = 1
        self._alpha = cv2.GaussianBlur(soft, (0, 0), edge / 2)[..., None]
        room = np.array([width - size[0], height - size[1]], np.float64)
        self._ends = [random.uniform(0, 1, 2) * np.maximum(room, 1) for _ in range(2)]

    def onto(self, base: npt.NDArray[np.uint8], share: float) -> Image:
        x, y = np.rint(self._ends[0] + (self._ends[1] - self._ends[0]) * share).astype(int)
        out = base.copy()
        target = out[y : y + self._image.shape[0], x : x + self._image.shape[1]]
        image, alpha = (each[: target.shape[0], : target.shape[1]] for each in (self._image, self._alpha))
        target[:] = (target * (1 - alpha) + image * alpha).astype(np.uint8)
        return out
