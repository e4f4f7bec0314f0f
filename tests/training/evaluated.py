"""A small data set and small engines, for tests of evaluation."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from selsa_bundle.classes import IMAGENET_VID
from selsa_bundle.contract import Dimensions
from selsa_bundle.engine import DetectionBatch, EngineInfo, FrameBatch, ReferenceBank
from selsa_bundle.preprocess import Preprocess
from selsa_training.checkpoint.checkpoint import Checkpoint
from selsa_training.checkpoint.untrained import untrained_tensors
from selsa_training.config import AnchorConfig, DetectionConfig, HeadConfig, ModelConfig, ProposalConfig
from selsa_training.data.formats.open_data import DataSource, open_data
from selsa_training.data.images import read_image
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import DataSet
from selsa_training.data.synthetic.drawn import draw_shapes
from selsa_training.data.synthetic.settings import SyntheticSettings
from selsa_training.data.synthetic.write import write_synthetic

PREPROCESS = Preprocess(long_side=96, short_side=60)
SMALL = ModelConfig(
    name="small",
    backbone="resnet18",
    neck_channels=16,
    rpn_channels=16,
    reference_frames=4,
    preprocess=PREPROCESS,
    anchors=AnchorConfig(scales=(1.0, 2.0)),
    proposals=ProposalConfig(candidates=60, proposals=12),
    head=HeadConfig(width=32, heads=2),
    detections=DetectionConfig(detections=20, score_threshold=0.001),
)


def write_set(folder: Path, *, clips: int = 2, length: int = 11) -> Path:
    """Held-out clips of drawn shapes, 64x48, lossless."""
    settings = SyntheticSettings(
        train_clips=0, val_clips=clips, length=length, height=48, width=64, image_format="png"
    )
    write_synthetic(folder, settings, draw_shapes(IMAGENET_VID))
    return folder


def read_set(folder: Path) -> DataSet:
    log = IssueLog()
    data = open_data(DataSource(path=folder), "val", log)
    log.raise_if_fatal()
    return data


def small_checkpoint() -> Checkpoint:
    return Checkpoint(config=SMALL, tensors=untrained_tensors(SMALL, 3), origin="a test", sha256="0" * 64)


class TruthEngines:
    """Engines that know a data set's answers: its objects become proposals, and the proposals detections.

    A frame is recognised by its pixels. `order` maps the data set's labels to those of the model.
    """

    def __init__(self, data: DataSet, preprocess: Preprocess, order: npt.NDArray[np.int64]) -> None:
        self._data = data
        self._order = order
        self._frames = {
            preprocess.prepare(read_image(data.path(frame))).pixels.tobytes(): frame
            for frame in range(data.frame_count)
        }

    @property
    def dimensions(self) -> Dimensions:
        return Dimensions(proposals=4, width=2, stages=1, detections=4)

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(provider="truth", precision="fp32")

    def run_frames(self, frames: npt.NDArray[np.uint8], image_size: npt.NDArray[np.int64]) -> FrameBatch:
        count = len(frames)
        batch = FrameBatch(
            boxes=np.zeros((count, 4, 4), np.float32),
            valid=np.zeros((count, 4), np.bool_),
            queries=np.zeros((count, 4, 2), np.float32),
            memory=np.zeros((count, 1, 2, 4, 2), np.float32),
        )
        for row, pixels in enumerate(frames):
            frame = self._frames[pixels.tobytes()]
            objects = self._data.objects(frame)
            height, width = self._data.frame_sizes[frame]
            scale = image_size[row, ::-1] / (width, height)
            batch.boxes[row, : len(objects.labels)] = objects.boxes * np.tile(scale, 2)
            batch.valid[row, : len(objects.labels)] = True
            batch.queries[row, : len(objects.labels), 0] = self._order[objects.labels]
        return batch

    def run_sequence(
        self,
        batch: FrameBatch,
        image_size: npt.NDArray[np.int64],
        scale_factor: npt.NDArray[np.float32],
        bank: ReferenceBank,
    ) -> DetectionBatch:
        return DetectionBatch(
            boxes=batch.boxes / np.tile(scale_factor, 2)[:, None],
            scores=batch.valid.astype(np.float32) * 0.9,
            labels=batch.queries[..., 0].astype(np.int64),
            count=batch.valid.sum(axis=1),
        )
