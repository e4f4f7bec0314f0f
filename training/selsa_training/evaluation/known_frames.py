"""Outputs of the frame engine, with the frame sizes that the sequence engine needs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from selsa_bundle.engine import Engines, FrameBatch
from selsa_bundle.preprocess import PreparedFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFrames:
    """B frames that the frame engine has processed.

    Attributes:
        features: the frame engine's outputs.
        image_size: int64 [B, 2], (height, width) of the resized frames without padding.
        scale_factor: float32 [B, 2], resized size / source size along (x, y).
    """

    features: FrameBatch
    image_size: npt.NDArray[np.int64]
    scale_factor: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """B, the number of frames."""
        return len(self.image_size)

    def __getitem__(self, frames: slice) -> "KnownFrames":
        """Some of the frames, without copying."""
        return KnownFrames(
            features=self.features[frames],
            image_size=self.image_size[frames],
            scale_factor=self.scale_factor[frames],
        )

    def best_proposals(self, most: int | None) -> "KnownFrames":
        """The frames with at most `most` valid proposals each, those with the highest objectness.

        An invalid proposal is never attended to and gives no detection. So the result equals that of a frame
        engine with fewer proposals.
        """
        if most is None:
            return self
        valid = self.features.valid.copy()
        valid[:, most:] = False
        return replace(self, features=self.features.replaced(valid=valid))

    @staticmethod
    def concatenate(parts: "Sequence[KnownFrames]") -> "KnownFrames":
        """All frames of several objects, in order."""
        return KnownFrames(
            features=FrameBatch.concatenate([part.features for part in parts]),
            image_size=np.concatenate([part.image_size for part in parts]),
            scale_factor=np.concatenate([part.scale_factor for part in parts]),
        )


def run_frames(engines: Engines, frames: Sequence[PreparedFrame]) -> list[KnownFrames]:
    """Run the frame engine, one call per padded size; returns one object per frame, in order.

    Raises:
        EngineError: the runtime failed.
    """
    by_size: dict[tuple[int, ...], list[int]] = {}
    for position, frame in enumerate(frames):
        by_size.setdefault(frame.pixels.shape, []).append(position)
    known: dict[int, KnownFrames] = {}
    for positions in by_size.values():
        together = [frames[p] for p in positions]
        size = np.array([frame.image_size for frame in together], np.int64)
        features = engines.run_frames(np.stack([frame.pixels for frame in together]), size)
        scale = np.array([frame.scale_factor for frame in together], np.float32)
        batch = KnownFrames(features=features, image_size=size, scale_factor=scale)
        known |= {p: batch[i : i + 1] for i, p in enumerate(positions)}
    return [known[p] for p in range(len(frames))]
