"""Reference banks: key/value memory of reference frames, filled as frames come.

Memory is R * P * C * 4 values (two stages of key and value) whatever the video's length, allocated once.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from selsa_bundle.contract import Dimensions
from selsa_bundle.engine import FrameBatch, ReferenceBank
from selsa_bundle.references import OnlineReferences


class BankSlots:
    """A reference bank of `count` frames' places, empty at first; an empty place is masked, not zero."""

    def __init__(self, dims: Dimensions, count: int) -> None:
        # One place at least: attention over an empty bank is not defined, over a masked one it is.
        self._proposals = dims.proposals
        rows = max(count, 1) * dims.proposals
        self._state = object()
        self.bank = ReferenceBank(
            memory=np.zeros((dims.stages, 2, rows, dims.width), np.float32),
            valid=np.zeros(rows, np.bool_),
            state=lambda: self._state,
        )

    def fill(self, slot: int, frame: FrameBatch) -> None:
        """Put the memory of one frame (a batch of one) into a place."""
        rows = self._rows(slot)
        self.bank.memory[:, :, rows] = frame.memory[0]
        self.bank.valid[rows] = frame.valid[0]
        self._state = object()

    def clear(self, slot: int) -> None:
        """Empty a place."""
        self.bank.valid[self._rows(slot)] = False
        self._state = object()

    def frame(self, slot: int, boxes: FrameBatch) -> FrameBatch:
        """The batch of one that was put into a place, its memory read back from the bank."""
        return FrameBatch(
            boxes=boxes.boxes,
            valid=boxes.valid,
            queries=boxes.queries,
            memory=self.bank.memory[None, :, :, self._rows(slot)],
        )

    def _rows(self, slot: int) -> slice:
        return slice(slot * self._proposals, (slot + 1) * self._proposals)


class SequenceBank:
    """The bank of `sequence` mode: references spread over the whole clip, filled before the first key frame.

    A frame that occurs twice among the references is run once and fills two places. Its queries are kept, so
    that a reference that is also a key frame is not run again.
    """

    def __init__(self, dims: Dimensions, references: Sequence[int]) -> None:
        self._slots = BankSlots(dims, len(references))
        self._places: dict[int, list[int]] = defaultdict(list)
        for slot, index in enumerate(references):
            self._places[index].append(slot)
        self._kept: dict[int, FrameBatch] = {}

    @property
    def bank(self) -> ReferenceBank:
        """The bank as the sequence engine takes it."""
        return self._slots.bank

    @property
    def wanted(self) -> list[int]:
        """Source indices to run, ascending, each once."""
        return sorted(self._places)

    def add(self, index: int, frame: FrameBatch) -> None:
        """Fill every place of a reference frame (a batch of one)."""
        for slot in self._places[index]:
            self._slots.fill(slot, frame)
        without_memory = np.zeros((1, 0), np.float32)
        self._kept[index] = FrameBatch(
            boxes=frame.boxes.copy(),
            valid=frame.valid.copy(),
            queries=frame.queries.copy(),
            memory=without_memory,
        )

    def recall(self, index: int) -> FrameBatch | None:
        """What the frame engine said of a reference frame, or None where it was none (or did not decode)."""
        kept = self._kept.get(index)
        return None if kept is None else self._slots.frame(self._places[index][0], kept)

    @property
    def used(self) -> tuple[int, ...]:
        """Source indices of the places that were filled, in order."""
        return tuple(index for index in self.wanted if index in self._kept for _ in self._places[index])


class OnlineBank(Protocol):
    """A bank that sees frames one after the other."""

    @property
    def bank(self) -> ReferenceBank:
        """The bank as the sequence engine takes it."""
        ...

    def before(self, position: int, frame: FrameBatch) -> None:
        """Called with each frame before its own detections are made."""
        ...

    def after(self, position: int, frame: FrameBatch) -> None:
        """Called with each frame after its own detections are made."""
        ...


class SpreadBank:
    """Frames seen so far, evenly spread over the past; see `OnlineReferences`."""

    def __init__(self, dims: Dimensions, count: int) -> None:
        self._slots = BankSlots(dims, count)
        self._schedule = OnlineReferences(capacity=count)
        self._slot_of: dict[int, int] = {}
        self._free = list(reversed(range(count)))

    @property
    def bank(self) -> ReferenceBank:
        """The bank as the sequence engine takes it."""
        return self._slots.bank

    def may_change_after(self, position: int) -> bool:
        """Whether `after` may change the bank; until then, frames share it and may be detected together."""
        return self._schedule.may_change_at(position)

    def before(self, position: int, frame: FrameBatch) -> None:
        """Nothing: a frame sees its own proposals anyway."""

    def after(self, position: int, frame: FrameBatch) -> None:
        """Keep the frame if the schedule says so; let go of those that leave."""
        keep, leaving = self._schedule.offer(position)
        for gone in leaving:
            slot = self._slot_of.pop(gone)
            self._slots.clear(slot)
            self._free.append(slot)
        if keep:
            slot = self._free.pop()
            self._slots.fill(slot, frame)
            self._slot_of[position] = slot


class FirstFrameBank:
    """`count` times the first frame, as the published demo has it (mmtracking's `inference_vid`)."""

    def __init__(self, dims: Dimensions, count: int) -> None:
        self._slots = BankSlots(dims, count)
        self._count = count

    @property
    def bank(self) -> ReferenceBank:
        """The bank as the sequence engine takes it."""
        return self._slots.bank

    def before(self, position: int, frame: FrameBatch) -> None:
        """The first frame fills every place before its own detections are made."""
        if position == 0:
            for slot in range(self._count):
                self._slots.fill(slot, frame)

    def after(self, position: int, frame: FrameBatch) -> None:
        """Nothing."""
