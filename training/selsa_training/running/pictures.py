"""Predictions drawn on frames, to look at while a model learns."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch

from selsa_training.data.images import read_image
from selsa_training.data.records import DataSet
from selsa_training.data.sampling import whole_video_references
from selsa_training.model.detector import SelsaDetector

Image = npt.NDArray[np.uint8]

TRUTH: Final = (255, 255, 255)
FOUND: Final = (40, 230, 60)
LEAST_SCORE: Final = 0.3


@torch.inference_mode()
def draw_predictions(detector: SelsaDetector, data: DataSet, *, videos: int = 6) -> Image:
    """The middle frames of some videos in sequence mode, in a grid: uint8 [h, w, 3] RGB.

    True boxes are white, detections above 0.3 green with name and score.

    Args:
        detector: in evaluation mode.
        data: the data set; its videos are chosen evenly.
        videos: largest number of videos.
    """
    chosen = np.unique(np.linspace(0, data.video_count - 1, videos).round().astype(int)).tolist()
    tiles = [_tile(detector, data, video) for video in chosen]
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    columns = min(3, len(tiles))
    grid = np.zeros((-(-len(tiles) // columns) * height, columns * width, 3), np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // columns * height, place % columns * width
        grid[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return grid


def _tile(detector: SelsaDetector, data: DataSet, video: int) -> Image:
    frames = data.frames_of(video)
    key = frames[len(frames) // 2]
    references = whole_video_references(data, video, detector.config.reference_frames)
    device = detector.mean.device
    memory, valid = [], []
    for frame in (*references, key):
        prepared = detector.config.preprocess.prepare(read_image(data.path(frame)))
        size = torch.tensor([prepared.image_size], device=device)
        images = detector.normalise(torch.from_numpy(prepared.pixels[None]).to(device), size)
        features = detector.frame_stage(images, size)
        memory.append(features.memory[0])
        valid.append(features.valid[0])
    bank = torch.cat(memory[:-1] or [memory[0][:, :, :0]], dim=2)
    bank_valid = torch.cat(valid[:-1] or [valid[0][:0]])
    scale = torch.tensor([prepared.scale_factor], device=device)
    found = detector.sequence_stage(features, size, scale, bank, bank_valid)
    canvas = read_image(data.path(key)).copy()
    for box in data.objects(key).boxes:
        _box(canvas, box, TRUTH, "")
    for box, score, label in zip(
        found.boxes[0].cpu(), found.scores[0].cpu(), found.labels[0].cpu(), strict=True
    ):
        if float(score) >= LEAST_SCORE:
            _box(canvas, box.numpy(), FOUND, f"{data.classes[int(label)]} {float(score):.2f}")
    return canvas


def _box(canvas: Image, box: npt.NDArray[np.float32], colour: tuple[int, int, int], text: str) -> None:
    x1, y1, x2, y2 = (round(float(x)) for x in box)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 1)
    if text:
        cv2.putText(
            canvas, text, (x1 + 2, max(10, y1 - 3)), cv2.FONT_HERSHEY_SIMPLEX, 0.35, colour, 1, cv2.LINE_AA
        )
