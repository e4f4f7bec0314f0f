"""One clip: its frames and objects. It depends only on settings, sprites, split and number."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from selsa_training.data.records import DEGRADED, IGNORED, OCCLUDED
from selsa_training.data.synthetic.degradation import CLEAR, Effects, draw_bursts, draw_effects
from selsa_training.data.synthetic.drawing import Drawn, cover, draw_object
from selsa_training.data.synthetic.paths import Path, draw_path
from selsa_training.data.synthetic.settings import SyntheticSettings
from selsa_training.data.synthetic.sprites import Sprite, SpriteSet

Image = npt.NDArray[np.float32]

# Cells across the texture and strength, for each octave.
OCTAVES: Final = ((3, 55.0), (9, 30.0), (30, 16.0), (90, 9.0))


def draw_texture(height: int, width: int, random: np.random.Generator, *, shapes: int = 14) -> Image:
    """float32 [height, width, 3], RGB 0 to 255."""
    texture = np.empty((height, width, 3), np.float32)
    texture[:] = random.uniform(50, 200, 3)
    for cells, strength in OCTAVES:
        rows = max(2, round(cells * height / width))
        coarse = random.normal(0, strength, (rows, cells, 3)).astype(np.float32)
        # Brightness varies more than colour, as in photographs.
        coarse = 0.4 * coarse + 0.6 * coarse.mean(axis=2, keepdims=True)
        texture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(shapes):
        _draw_shape(texture, random)
    return np.clip(texture, 0, 255, out=texture)


def drift(length: int, room: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """int64 [length, 2], offsets (y, x) of the frame in the texture, 0 to `room`: slow, smooth swings."""
    time = np.arange(length)[:, None]
    swing = np.sin(2 * np.pi * time / random.uniform(60, 160, 2) + random.uniform(0, 2 * np.pi, 2))
    return np.rint(room / 2 * (1 + random.uniform(0, 1, 2) * swing)).astype(np.int64)


def _draw_shape(texture: Image, random: np.random.Generator) -> None:
    height, width = texture.shape[:2]
    centre = random.uniform(0, 1, 2) * (width, height)
    radius = random.uniform(0.04, 0.22) * height
    corners = int(random.integers(3, 9))
    angles = np.sort(random.uniform(0, 2 * np.pi, corners))
    spread = radius * random.uniform(0.5, 1.3, corners)
    points = centre + spread[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    soft = random.uniform(0.6, 4.0)
    strength, colour = np.float32(random.uniform(0.3, 0.9)), random.uniform(20, 235, 3).astype(np.float32)
    # Only in the region of the shape and its soft edge.
    room = 3 * soft + 1
    x1, y1 = np.maximum(np.floor(points.min(axis=0) - room), 0).astype(int)
    x2, y2 = np.minimum(np.ceil(points.max(axis=0) + room), (width, height)).astype(int)
    if x2 <= x1 or y2 <= y1:
        return
    mask = np.zeros((y2 - y1, x2 - x1), np.float32)
    cv2.fillPoly(mask, [np.rint(points - (x1, y1)).astype(np.int32)], 1.0, cv2.LINE_8)
    mask = cv2.GaussianBlur(mask, (0, 0), soft) * strength
    region = texture[y1:y2, x1:x2]
    region += mask[..., None] * (colour - region)


SPLITS: Final = {"train": 0, "val": 1}
_CLIP: Final = 3
_DECK: Final = 4
# Largest drift of the camera, in pixels, and standard deviation of its noise.
ROOM: Final = 48
NOISE: Final = (2.0, 9.0)
# If other objects cover these shares of an object, it is marked as occluded, or as ignored.
HIDDEN: Final = 0.3
LOST: Final = 0.75


@dataclass(frozen=True, slots=True)
class ClipObject:
    """An object in one frame: `label`, `track`, `box` xyxy in pixels inside the frame, flags of `records`."""

    label: int
    track: int
    box: tuple[float, float, float, float]
    flags: int


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """A finished frame: uint8 [H, W, 3] RGB, its objects, and whether it is degraded."""

    pixels: npt.NDArray[np.uint8]
    objects: tuple[ClipObject, ...]
    degraded: bool


@dataclass(frozen=True, slots=True)
class _Actor:
    """An object throughout a clip: its path, and the effects on it in each burst."""

    label: int
    sprite: Sprite
    path: Path
    mirrored: bool
    effects: tuple[Effects, ...]


@dataclass(frozen=True, slots=True)
class Clip:
    """The random choices of a clip. Iteration renders its frames one by one."""

    settings: SyntheticSettings
    actors: tuple[_Actor, ...]
    bursts: tuple[tuple[int, int], ...]
    texture: npt.NDArray[np.float32]
    cover: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.int64]
    gain: npt.NDArray[np.float32]
    noise: npt.NDArray[np.float32]

    def __iter__(self) -> Iterator[ClipFrame]:
        for time in range(self.settings.length):
            yield self._frame(time)

    def _frame(self, time: int) -> ClipFrame:
        height, width = self.settings.height, self.settings.width
        top, left = self.offsets[time]
        canvas = self.texture[top : top + height, left : left + width].copy()
        burst = next((i for i, (a, b) in enumerate(self.bursts) if a <= time < b), None)
        drawn: list[tuple[Drawn | None, Effects]] = []
        for actor in self.actors:
            effects = CLEAR if burst is None else actor.effects[burst]
            path = actor.path
            where = (float(path.x[time]), float(path.y[time]))
            size, angle = float(path.size[time]), float(path.angle[time])
            item = draw_object(canvas, actor.sprite, where, size, angle, effects, mirrored=actor.mirrored)
            if item is not None and effects.occlusion:
                cover(canvas, item.box, effects, self.cover)
            drawn.append((item, effects))
        return ClipFrame(self._expose(canvas, time), self._objects(drawn, burst), burst is not None)

    def _expose(self, canvas: npt.NDArray[np.float32], time: int) -> npt.NDArray[np.uint8]:
        """The camera's colours and noise."""
        height, width = canvas.shape[:2]
        # One field of noise, shifted for each frame. New noise for each frame would take longer than drawing.
        top, left = (time * 37) % ROOM, (time * 23) % ROOM
        canvas *= self.gain
        canvas += self.noise[top : top + height, left : left + width]
        return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)

    def _objects(
        self, drawn: list[tuple[Drawn | None, Effects]], burst: int | None
    ) -> tuple[ClipObject, ...]:
        found = []
        for index, (item, effects) in enumerate(drawn):
            if item is None:
                continue
            above = [other.mask for other, _ in drawn[index + 1 :] if other is not None]
            hidden = float((np.any(above, axis=0) & item.mask).sum() / item.mask.sum()) if above else 0.0
            flags = DEGRADED * (burst is not None) | IGNORED * (hidden > LOST)
            flags |= OCCLUDED * (max(hidden, effects.occlusion) >= HIDDEN)
            found.append(ClipObject(self.actors[index].label, index, item.box, flags))
        return tuple(found)


def render_clip(settings: SyntheticSettings, sprites: SpriteSet, split: str, number: int) -> Clip:
    """Choose a clip at random.

    Args:
        sprites: of every class; a label is the index of a class in them.
        number: of the clip in its split.
    """
    random = np.random.default_rng([_CLIP, settings.seed, SPLITS[split], number])
    count = int(random.integers(settings.objects[0], settings.objects[1] + 1))
    labels = _deal(settings, len(sprites.by_class), split, number)[:count]
    bursts = draw_bursts(settings.length, settings.degradation, random)
    members = list(sprites.by_class.values())
    actors = []
    for label in labels:
        effects = tuple(draw_effects(settings.degradation, random) for _ in bursts)
        sprite = members[label][int(random.integers(len(members[label])))]
        path, mirrored = draw_path(settings, random), bool(random.integers(2))
        actors.append(_Actor(label, sprite, path, mirrored, effects))
    height, width = settings.height + ROOM, settings.width + ROOM
    noise = random.normal(0, random.uniform(*NOISE), (height, width, 3)).astype(np.float32)
    return Clip(
        settings,
        tuple(actors),
        tuple(bursts),
        draw_texture(height, width, random),
        draw_texture(settings.height, settings.width, random, shapes=30),
        drift(settings.length, ROOM, random),
        (random.uniform(0.75, 1.1) * random.uniform(0.85, 1.15, 3)).astype(np.float32),
        cv2.GaussianBlur(noise, (0, 0), 0.5) * np.float32(1.6),
    )


def _deal(settings: SyntheticSettings, classes: int, split: str, number: int) -> list[int]:
    """Labels for a clip, all different, taken from permutations of all classes, so that no class is rare."""
    most = min(settings.objects[1], classes)
    clips_each = max(1, classes // most)
    deck = np.random.default_rng([_DECK, settings.seed, SPLITS[split], number // clips_each])
    order = deck.permutation(classes)
    first = number % clips_each * most
    return [int(label) for label in order[first : first + most]]
