"""Engines without a network, for tests of the code around engines.

Every output is an exact function of the input pixels, so that a frame that is lost, doubled, reordered or
scaled wrongly shows in the detections.
"""

import threading
from time import sleep
from typing import Final

import numpy as np
import numpy.typing as npt

from selsa_bundle.contract import Dimensions
from selsa_bundle.engine import DetectionBatch, EngineInfo, Float, FrameBatch, Int, ReferenceBank
from selsa_bundle.errors import EngineError

WIDTH: Final = 4
STAGES: Final = 2


class FakeEngines:
    """Engines with one detection per frame, which shows the frame's mean colour.

    The detection's box is the whole frame, its score the mean of the red channel / 255, its label 0. The
    valid rows of each call's bank are listed in `references_seen`. `fail_at` makes the n-th frame call (from
    0) raise. `closed` counts calls of `close`; after the first one, every call raises.
    """

    def __init__(self, *, seconds_per_frame: float = 0.0, fail_at: int | None = None) -> None:
        self._dimensions = Dimensions(proposals=2, width=WIDTH, stages=STAGES, detections=3)
        self._seconds = seconds_per_frame
        self._fail_at = fail_at
        self._lock = threading.Lock()
        self.frame_calls = 0
        self.frames_run = 0
        self.references_seen: list[int] = []
        self.closed = 0

    @property
    def dimensions(self) -> Dimensions:
        """Faster R-CNN with P = 2, C = 4, S = 2, D = 3."""
        return self._dimensions

    @property
    def info(self) -> EngineInfo:
        """Provider `fake`."""
        return EngineInfo(provider="fake", precision="fp32")

    def run_frames(self, frames: npt.NDArray[np.uint8], image_size: Int) -> FrameBatch:
        """One valid proposal, the whole frame; its query is the mean colour."""
        self._check_open()
        with self._lock:
            call = self.frame_calls
            self.frame_calls += 1
            self.frames_run += len(frames)
        if self._fail_at is not None and call >= self._fail_at:
            raise EngineError("the fake engine was told to fail")
        sleep(self._seconds * len(frames))
        dims = self._dimensions
        count = len(frames)
        boxes = np.zeros((count, dims.proposals, 4), np.float32)
        queries = np.zeros((count, dims.proposals, WIDTH), np.float32)
        for i, (height, width) in enumerate(image_size):
            boxes[i, 0] = (0, 0, width, height)
            queries[i, 0, :3] = frames[i, :height, :width].reshape(-1, 3).mean(0)
        valid = np.zeros((count, dims.proposals), np.bool_)
        valid[:, 0] = True
        memory = np.repeat(queries[:, None, None], 2, axis=2).repeat(STAGES, axis=1)
        return FrameBatch(boxes=boxes, valid=valid, queries=queries, memory=memory)

    def run_sequence(
        self, batch: FrameBatch, image_size: Int, scale_factor: Float, bank: ReferenceBank
    ) -> DetectionBatch:
        """The proposal as one detection in source pixels."""
        del image_size
        self._check_open()
        with self._lock:
            self.references_seen.append(int(bank.valid.sum()))
        depth = self._dimensions.detections
        count = len(batch)
        boxes = np.zeros((count, depth, 4), np.float32)
        boxes[:, 0] = batch.boxes[:, 0] / np.tile(scale_factor, 2)
        scores = np.zeros((count, depth), np.float32)
        scores[:, 0] = batch.queries[:, 0, 0] / 255
        return DetectionBatch(
            boxes=boxes,
            scores=scores,
            labels=np.zeros((count, depth), np.int64),
            count=np.ones(count, np.int64),
        )

    def close(self) -> None:
        """Make every later call raise."""
        with self._lock:
            self.closed += 1

    def _check_open(self) -> None:
        if self.closed:
            raise EngineError("the fake engines were closed")
