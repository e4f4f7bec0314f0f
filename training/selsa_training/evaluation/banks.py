"""Detection on one video with a reference bank, as on the server; see `selsa_bundle.bank`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from selsa_bundle.bank import BankSlots, SpreadBank
from selsa_bundle.engine import Engines, ReferenceBank
from selsa_training.evaluation.known_frames import KnownFrames
from selsa_training.evaluation.metrics.detections import FrameDetections
from selsa_training.evaluation.variants import Variant


class KeyFrames(Protocol):
    """Detects on the frames of one video, in order."""

    def detect(self, frames: KnownFrames) -> Iterator[FrameDetections]:
        """Detections of the next B frames, one after the other.

        Raises:
            EngineError: the runtime failed.
        """
        ...


def key_frames(
    engines: Engines, variant: Variant, references: Sequence[int], known: Mapping[int, KnownFrames]
) -> KeyFrames:
    """Start a video.

    Args:
        variant: the rule that chooses reference frames.
        references: positions of the reference frames that are known so far, ascending, with duplicates.
        known: position -> frame, for each of them.
    """
    if variant.online:
        return _Online(engines, variant)
    slots = BankSlots(engines.dimensions, len(references))
    for slot, position in enumerate(references):
        slots.fill(slot, known[position].best_proposals(variant.proposals).features)
    return _OneBank(engines, variant, slots.bank)


class _OneBank:
    """One bank for all frames; every batch of frames is one call of the sequence engine."""

    def __init__(self, engines: Engines, variant: Variant, bank: ReferenceBank) -> None:
        self._engines = engines
        self._variant = variant
        self._bank = bank

    def detect(self, frames: KnownFrames) -> Iterator[FrameDetections]:
        return _detections(self._engines, frames.best_proposals(self._variant.proposals), self._bank)


class _Online:
    """A bank of the frames seen so far; frames between two changes of the bank share a call."""

    def __init__(self, engines: Engines, variant: Variant) -> None:
        self._engines = engines
        self._variant = variant
        self._bank = SpreadBank(engines.dimensions, variant.references)
        self._position = 0

    def detect(self, frames: KnownFrames) -> Iterator[FrameDetections]:
        frames = frames.best_proposals(self._variant.proposals)
        first = 0
        for place in range(len(frames)):
            if self._bank.may_change_after(self._position) or place + 1 == len(frames):
                yield from _detections(self._engines, frames[first : place + 1], self._bank.bank)
                first = place + 1
            self._bank.after(self._position, frames.features[place : place + 1])
            self._position += 1


def _detections(engines: Engines, frames: KnownFrames, bank: ReferenceBank) -> Iterator[FrameDetections]:
    batch = engines.run_sequence(frames.features, frames.image_size, frames.scale_factor, bank)
    for row, count in enumerate(batch.count.tolist()):
        # Copied, because a view would keep the whole batch in memory.
        yield (
            batch.boxes[row, :count].copy(),
            batch.scores[row, :count].copy(),
            batch.labels[row, :count].copy(),
        )
