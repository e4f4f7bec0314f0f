"""Online detection: each frame attends to earlier frames only, of its own shot if the family says so.

The pipeline's `online` mode and live streams share it.
"""

from collections.abc import Iterator, Sequence

from selsa_bundle.bank import FirstFrameBank, OnlineBank, SpreadBank
from selsa_bundle.engine import DetectionBatch, FrameBatch
from selsa_bundle.preprocess import PreparedFrame
from selsa_bundle.runtimes.load import LoadedBundle
from selsa_bundle.tracks.cuts import CutDetector, DissolveDetector
from selsa_server.pipeline.inference import Inference
from selsa_server.schema.detect import DetectParams

# The published demo passes ten copies of the first frame.
FIRST_FRAME_COPIES = 10


class OnlineDetection:
    """Detections of one stream of frames, over a bank of fixed size."""

    def __init__(self, bundle: LoadedBundle, params: DetectParams, inference: Inference) -> None:
        self._inference = inference
        self._bundle, self._params = bundle, params
        self._bank = _bank(bundle, params)
        self._position = 0
        by_shot = bundle.engines.dimensions.tensors.by_shot and params.bank == "spread"
        self._cuts = CutDetector() if by_shot else None
        self._dissolves = DissolveDetector()

    def detect(
        self, frames: Sequence[PreparedFrame], features: Sequence[FrameBatch]
    ) -> Iterator[DetectionBatch]:
        """Detections of each of the next frames, batches of one, in order. Each sees the bank as it was then.

        Args:
            frames: the frames.
            features: the frame engine's outputs for each, a batch of one.

        Raises:
            EngineFailureError: the engine failed.
        """
        for frame, known in zip(frames, features, strict=True):
            if self._is_other_scene(frame):
                self._bank, self._position = _bank(self._bundle, self._params), 0
            self._bank.before(self._position, known)
            detections = self._inference.sequence([frame], [known], self._bank.bank)
            self._bank.after(self._position, known)
            self._position += 1
            yield detections

    def _is_other_scene(self, frame: PreparedFrame) -> bool:
        """Whether the frames in the bank show another scene, because of a cut or a dissolve."""
        if self._cuts is None:
            return False
        if self._cuts.is_cut(frame.picture):
            self._dissolves.clear()
            return True
        return self._dissolves.was_dissolve(frame.picture)


def _bank(bundle: LoadedBundle, params: DetectParams) -> OnlineBank:
    asked, dims = params.reference_frames, bundle.engines.dimensions
    if params.bank == "first":
        return FirstFrameBank(dims, FIRST_FRAME_COPIES if asked is None else asked)
    return SpreadBank(dims, bundle.manifest.reference_frames if asked is None else asked)
