"""Engine calls on prepared frames."""

from collections.abc import Sequence

import numpy as np

from selsa_bundle.engine import DetectionBatch, Engines, FrameBatch, ReferenceBank
from selsa_bundle.errors import DeviceMemoryError, EngineError
from selsa_bundle.preprocess import PreparedFrame
from selsa_server.errors import EngineFailureError
from selsa_server.run_context import Stopwatch


class Repeats:
    """Finds frames that equal the one before them, as in screen recordings: they are computed once."""

    def __init__(self) -> None:
        self._last: PreparedFrame | None = None

    def places(self, frames: Sequence[PreparedFrame]) -> tuple[list[int], list[int]]:
        """The next frames of a video.

        Returns:
            The positions of the frames to compute, and for each frame its place among those; -1 for one that
            equals the last frame of the call before.
        """
        new: list[int] = []
        places: list[int] = []
        for position, frame in enumerate(frames):
            if self._last is None or not _equal(self._last, frame):
                new.append(position)
            places.append(len(new) - 1)
            self._last = frame
        return new, places


class Inference:
    """The two engines on prepared frames of one video: counts their time and translates their errors."""

    def __init__(self, engines: Engines, clock: Stopwatch) -> None:
        self._engines = engines
        self._clock = clock

    def frames(self, frames: Sequence[PreparedFrame]) -> list[FrameBatch]:
        """The frame engine, one call per padded size; a batch of one for each frame, in order.

        Raises:
            EngineFailureError: the engine failed.
        """
        by_size: dict[tuple[int, ...], list[int]] = {}
        for position, frame in enumerate(frames):
            by_size.setdefault(frame.pixels.shape, []).append(position)
        results: dict[int, FrameBatch] = {}
        for positions in by_size.values():
            pixels = np.stack([frames[p].pixels for p in positions])
            sizes = np.array([frames[p].image_size for p in positions], np.int64)
            try:
                with self._clock("frame_engine"):
                    batch = self._engines.run_frames(pixels, sizes)
            except EngineError as error:
                raise _failure(f"The frame engine failed on frames of {pixels.shape[1:3]}.", error) from error
            results |= {p: batch[i : i + 1] for i, p in enumerate(positions)}
        return [results[p] for p in range(len(frames))]

    def sequence(
        self, frames: Sequence[PreparedFrame], features: Sequence[FrameBatch], bank: ReferenceBank
    ) -> DetectionBatch:
        """The sequence engine on key frames that share one bank.

        Raises:
            EngineFailureError: the engine failed.
        """
        sizes = np.array([frame.image_size for frame in frames], np.int64)
        scales = np.array([frame.scale_factor for frame in frames], np.float32)
        try:
            with self._clock("sequence_engine"):
                return self._engines.run_sequence(FrameBatch.concatenate(features), sizes, scales, bank)
        except EngineError as error:
            raise _failure(f"The sequence engine failed on {len(frames)} key frames.", error) from error


def _equal(a: PreparedFrame, b: PreparedFrame) -> bool:
    """Whether the engines would get the same numbers."""
    return (
        a.image_size == b.image_size
        and a.scale_factor == b.scale_factor
        and a.pixels.shape == b.pixels.shape
        # A few rows differ for most frames that differ; all pixels are compared for the others only.
        and np.array_equal(a.pixels[::16], b.pixels[::16])
        and np.array_equal(a.pixels, b.pixels)
    )


def _failure(detail: str, error: EngineError) -> EngineFailureError:
    """The error for the client; of the runtime's message, only that memory ran out."""
    if isinstance(error, DeviceMemoryError):
        return EngineFailureError(f"{detail} {error}", code="engine_memory")
    return EngineFailureError(detail)
