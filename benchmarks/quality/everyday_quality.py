"""Quality of the everyday model on labelled real video, beside the frozen detector that it is built on.

    python -m benchmarks.quality.everyday_quality MODEL [MODEL ...] --clips benchmarks/quality/clips
        [--video clip.mp4 --truth gt.txt] [--json out.json]

A model is a bundle or a checkpoint of the everyday family; several are averaged (three seeds). A folder of
clips holds NAME.mp4 beside NAME.gt.txt. Truth is in the MOTChallenge format (frame, id, left, top, width,
height; frames and pixels from 1); its objects are persons unless the first line is `# CLASS`. `lowest` is
the lowest difference to the frozen detector's AP50 among the models. Nothing is trained on the clips. Damage
of this test: line and gaussian blur, darkness with noise, JPEG of quality 2 to 5, few pixels; training has
other kernels of the same families (`selsa_training.everyday_training.damage`).
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch

from selsa_bundle.bank import BankSlots, SpreadBank
from selsa_bundle.classes import COCO
from selsa_bundle.default_bundle import bundle_folder
from selsa_bundle.engine import Engines, FrameBatch, ReferenceBank
from selsa_bundle.gate.agreement import box_iou
from selsa_bundle.picture import Picture
from selsa_bundle.preprocess import PreparedFrame
from selsa_bundle.references import spread_references
from selsa_training.config import DetectionConfig
from selsa_training.evaluation.metrics.vid import average_precision
from selsa_training.evaluation.opened_model import ModelOptions, OpenedModel, open_model
from selsa_training.everyday.config import EVERYDAY
from selsa_training.everyday_training.clips import read_clip
from selsa_training.model.predictor import select_detections

Image = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]
Damage = Callable[[Image, np.random.Generator], Image]
# Boxes [N, 4] and scores [N] of one frame.
Found = tuple[Float, Float]
# The same and labels [N].
Labelled = tuple[Float, Float, npt.NDArray[np.int64]]
THRESHOLD: Final = 0.35
SETTINGS: Final = {"undamaged": (0,), "scattered": (1, 2), "bursts": (1, 2, 3)}
MODES: Final = ("frozen", "own frame", "online", "sequence")


def _line_blur(image: Image, random: np.random.Generator) -> Image:
    length, angle = int(random.integers(11, 27)), random.uniform(0, np.pi)
    kernel, middle = np.zeros((length, length), np.float32), (length - 1) / 2
    along = middle * np.array([np.cos(angle), np.sin(angle)])
    ends = [tuple(int(x) for x in middle + sign * along) for sign in (-1, 1)]
    cv2.line(kernel, *ends, 1)
    return cv2.filter2D(image, -1, kernel / kernel.sum()).astype(np.uint8, copy=False)


def _gaussian_blur(image: Image, random: np.random.Generator) -> Image:
    return cv2.GaussianBlur(image, (0, 0), random.uniform(3, 6)).astype(np.uint8, copy=False)


def dark(image: Image, random: np.random.Generator) -> Image:
    """Underexposed, with noise."""
    noise = random.normal(0, random.uniform(4, 10), image.shape)
    return np.clip(image * random.uniform(0.08, 0.25) + noise, 0, 255).astype(np.uint8)


def _jpeg(image: Image, random: np.random.Generator) -> Image:
    _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(2, 6))])
    return cv2.imdecode(coded, cv2.IMREAD_COLOR).astype(np.uint8, copy=False)


def _few_pixels(image: Image, random: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    factor = random.uniform(5, 9)
    small = cv2.resize(image, (int(width / factor), int(height / factor)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


DAMAGES: Final[tuple[Damage, ...]] = (_line_blur, _gaussian_blur, dark, _jpeg, _few_pixels)


def damaged(frames: Sequence[Image], setting: str, seed: int) -> list[Image]:
    """About half of the frames damaged: each by chance, or in runs of 4 to 12 frames of one kind."""
    random, out = np.random.default_rng(seed), list(frames)
    if setting == "scattered":
        for index in np.flatnonzero(random.random(len(out)) < 0.5):
            out[index] = DAMAGES[random.integers(len(DAMAGES))](out[index], random)
    if setting == "bursts":
        first = int(random.integers(0, 8))
        while first < len(out):
            length, kind = int(random.integers(4, 13)), DAMAGES[random.integers(len(DAMAGES))]
            for index in range(first, min(len(out), first + length)):
                out[index] = kind(out[index], random)
            first += length + int(random.integers(4, 13))
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A prepared frame and what the frame engine gives for it."""

    prepared: PreparedFrame
    features: FrameBatch


def know(model: OpenedModel, frames: Sequence[Image]) -> list[Known]:
    """Run the frame engine over every frame, as over those of a video in 4:2:0."""
    known = []
    picture = Picture(1 << 26, model.preprocess)
    for frame in frames:
        decoded = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
        pixels = picture.pixels(decoded)
        assert pixels is not None
        prepared = model.preprocess.prepare(pixels, picture.source_size(decoded))
        size = np.array([prepared.image_size], np.int64)
        known.append(Known(prepared=prepared, features=model.engines.run_frames(prepared.pixels[None], size)))
    return known


def detections(
    engines: Engines, known: Sequence[Known], mode: str, count: int, label: int = 0
) -> Iterator[Found]:
    """Detections of one class, persons if not given, of every frame in one mode."""
    for boxes, scores, labels in every_detection(engines, known, mode, count):
        mine = labels == label
        yield boxes[mine], scores[mine]


def every_detection(engines: Engines, known: Sequence[Known], mode: str, count: int) -> Iterator[Labelled]:
    """Detections of every frame in one mode; `frozen` leaves the SELSA stage out."""
    dims = engines.dimensions
    slots, online = BankSlots(dims, count), SpreadBank(dims, count)
    if mode == "sequence":
        for slot, index in enumerate(spread_references(len(known), count)):
            slots.fill(slot, known[index].features)
    for position, each in enumerate(known):
        if mode == "frozen":
            yield _frozen(each)
            continue
        yield _detected(engines, each, online.bank if mode == "online" else slots.bank)
        online.after(position, each.features)


def _detected(engines: Engines, each: Known, bank: ReferenceBank) -> Labelled:
    size = np.array([each.prepared.image_size], np.int64)
    scale = np.array([each.prepared.scale_factor], np.float32)
    out = engines.run_sequence(each.features, size, scale, bank)
    mine = slice(int(out.count[0]))
    return out.boxes[0, mine], out.scores[0, mine], out.labels[0, mine]


def _frozen(each: Known, config: DetectionConfig = EVERYDAY.detections) -> Labelled:
    """The frozen detector's own detections, from the logits of the same proposals."""
    features = each.features
    scores = (
        torch.from_numpy(features.tensors["logits"]).sigmoid() * torch.from_numpy(features.valid)[..., None]
    )
    boxes = torch.from_numpy(features.boxes) / torch.tensor([*each.prepared.scale_factor] * 2)
    spread = boxes[:, :, None].expand(-1, -1, scores.shape[-1], -1).flatten(1, 2)
    found, best, labels, count, _ = select_detections(spread, scores.flatten(1), scores.shape[-1], config)
    mine = slice(int(count[0]))
    return found[0, mine].numpy(), best[0, mine].numpy(), labels[0, mine].numpy()


@dataclass(frozen=True, slots=True)
class Ranked:
    """Detections of a clip by descending score, and which of them are right."""

    scores: Float
    right: npt.NDArray[np.bool_]
    persons: int
    frames: int

    @classmethod
    def of(cls, found: Sequence[Found], truth: Sequence[Float]) -> "Ranked":
        """Match detections frame by frame, best first, each to the person overlapped most, by half."""
        scores, right = [np.zeros(0, np.float32)], [np.zeros(0, np.bool_)]
        for (boxes, mine), persons in zip(found, truth, strict=True):
            order = np.argsort(-mine, kind="stable")
            overlap = box_iou(boxes[order], persons) if len(persons) else np.zeros((len(order), 0))
            hits = np.zeros(len(order), np.bool_)
            for row in range(len(order) if overlap.size else 0):
                column = int(overlap[row].argmax())
                if overlap[row, column] >= 0.5:
                    hits[row] = True
                    overlap[:, column] = 0
            scores.append(mine[order])
            right.append(hits)
        every, hit = np.concatenate(scores), np.concatenate(right)
        order = np.argsort(-every, kind="stable")
        return cls(every[order], hit[order], sum(map(len, truth)), len(truth))

    @property
    def ap50(self) -> float:
        """Average precision in percent, at 101 recalls."""
        wrong = (~self.right).astype(np.float64)
        return 100 * average_precision(self.scores, self.right, wrong, self.persons, "101")

    def false_at(self, threshold: float) -> float:
        """False persons a frame at a score threshold."""
        return float((~self.right[self.scores >= threshold]).sum()) / self.frames

    def at_false(self, false: float) -> tuple[float, float]:
        """Percent of the persons found, and the threshold, where there are that many false ones a frame."""
        within = np.flatnonzero(np.cumsum(~self.right) <= false * self.frames + 1e-9)
        if not len(within):
            return 0.0, 1.0
        last = int(within[-1])
        return 100 * float(self.right[: last + 1].sum()) / self.persons, float(self.scores[last])


def read_truth(path: Path, frames: int) -> list[Float]:
    """Objects of every frame, float32 [N, 4] xyxy in pixels from 0."""
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], 1).astype(np.float32) - 1
    return [boxes[rows[:, 0] == frame + 1] for frame in range(frames)]


@dataclass(frozen=True, slots=True)
class LabelledClip:
    """A clip, the class of its labelled objects, and their boxes [N, 4] in every frame."""

    name: str
    frames: list[Image]
    label: int
    truth: list[Float]

    @classmethod
    def read(cls, video: Path, truth: Path) -> "LabelledClip":
        frames, first = read_clip(video), truth.read_text().splitlines()[0]
        label = COCO.index(first.removeprefix("#").strip()) if first.startswith("#") else 0
        return cls(video.stem, frames, label, read_truth(truth, len(frames)))


# Setting -> mode -> AP50, recall and threshold at the frozen detector's false detections.
Figures = dict[str, dict[str, list[float]]]


def measure(model: OpenedModel, clip: LabelledClip) -> Figures:
    """Figures of one model on one clip, means over the draws of damage."""
    out: Figures = {}
    for setting, seeds in SETTINGS.items():
        rows: dict[str, list[list[float]]] = {mode: [] for mode in MODES}
        for seed in seeds:
            known = know(model, damaged(clip.frames, setting, seed))
            false = 0.0
            for mode in MODES:
                found = detections(model.engines, known, mode, model.reference_frames, clip.label)
                ranked = Ranked.of(list(found), clip.truth)
                false = ranked.false_at(THRESHOLD) if mode == "frozen" else false
                rows[mode].append([ranked.ap50, *ranked.at_false(false)])
        out[setting] = {mode: np.mean(each, 0).tolist() for mode, each in rows.items()}
    return out


def show(clip: str, found: Sequence[Figures]) -> None:
    """Print the figures of one clip, means over models with the standard deviation."""
    for setting in SETTINGS:
        frozen = np.array([each[setting]["frozen"][0] for each in found])
        for mode in MODES:
            values = np.array([each[setting][mode] for each in found])
            mean, spread = values.mean(0), values.std(0)
            print(
                f"| {clip} | {setting} | {mode} | {mean[0]:.1f} ± {spread[0]:.1f} "
                f"| {(values[:, 0] - frozen).min():+.1f} | {mean[1]:.1f} ± {spread[1]:.1f} | {mean[2]:.3f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", type=bundle_folder, nargs="+")
    parser.add_argument("--clips", type=Path, help="folder of labelled clips")
    parser.add_argument("--video", type=Path, action="append", default=[])
    parser.add_argument("--truth", type=Path, action="append", default=[], help="one for each --video")
    parser.add_argument("--provider", help="of bundles; ONNX Runtime on the CPU if not given")
    parser.add_argument("--precision", help="of bundles; fp32 if not given")
    parser.add_argument("--size", type=int, default=0, help="long side of frames; 0: the model's")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    videos = sorted(given.clips.glob("*.mp4")) if given.clips else []
    paths = [(video, video.with_suffix(".gt.txt")) for video in videos]
    paths += zip(given.video, given.truth, strict=True)
    options = ModelOptions(provider=given.provider, precision=given.precision, size=given.size)
    models = [open_model(path, options) for path in given.models]
    print("| clip | setting | mode | AP50 | lowest | found at equal false ones | threshold |")
    print("|---|---|---|---|---|---|---|")
    clips = {}
    for clip in (LabelledClip.read(*each) for each in paths):
        clips[clip.name] = [measure(model, clip) for model in models]
        show(clip.name, clips[clip.name])
    if given.json:
        given.json.write_text(json.dumps({"command": sys.argv[1:], "clips": clips}, indent=2) + "\n")


if __name__ == "__main__":
    main()
