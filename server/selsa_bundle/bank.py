"""Reference banks: features of reference frames, filled frame by frame.

Memory is allocated once and does not depend on the video's length. Faster R-CNN with two stages needs 4 * C
values for each proposal of each reference frame.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from selsa_bundle.contract import Dimensions
from selsa_bundle.engine import Array, FrameBatch, ReferenceBank
from selsa_bundle.family import Shape
from selsa_bundle.references import OnlineReferences


class BankSlots:
    """A reference bank with slots for `count` frames. An empty slot is masked."""

    def __init__(self, dims: Dimensions, count: int) -> None:
        # At least one slot: attention over no rows is undefined, over masked rows it is defined.
        self._per_frame = dims.bank_rows
        self._features = dims.tensors.bank_features
        # Features that the bank keeps of all proposals, so that `recalled` can read them back.
        whole = dims.bank_rows == dims.proposals
        self._whole = frozenset(f.name for f in self._features if whole)
        self._state = object()
        rows = max(count, 1) * self._per_frame
        self.bank = ReferenceBank(
            valid=np.zeros(rows, np.bool_),
            state=lambda: self._state,
            **{f.name: _zeros(dims.sized(f.bank_shape), rows) for f in self._features},
        )

    def fill(self, slot: int, frame: FrameBatch) -> None:
        """Put one frame (a batch of one) into a slot."""
        rows, first = self._rows(slot), slice(self._per_frame)
        for f in self._features:
            kept = f.rows(self.bank.tensors[f.name], rows)
            kept[...] = f.rows(frame.tensors[f.name][0], first)
        self.bank.valid[rows] = frame.valid[0, first]
        self._state = object()

    def clear(self, slot: int) -> None:
        """Empty a slot."""
        self.bank.valid[self._rows(slot)] = False
        self._state = object()

    def _rows(self, slot: int) -> slice:
        return slice(slot * self._per_frame, (slot + 1) * self._per_frame)

    def without_bank(self, frame: FrameBatch) -> FrameBatch:
        """A copy of a frame without the arrays that `recalled` reads back from the bank."""
        kept = {name: array.copy() for name, array in frame.tensors.items() if name not in self._whole}
        return FrameBatch(**kept)

    def recalled(self, slot: int, kept: FrameBatch) -> FrameBatch:
        """The frame in a slot: `kept` (from `without_bank`) and the arrays in the bank."""
        rows = self._rows(slot)
        known = (f for f in self._features if f.name in self._whole)
        read = {f.name: f.rows(self.bank.tensors[f.name], rows)[None] for f in known}
        return kept.replaced(**read)


def _zeros(shape: Shape, rows: int) -> Array:
    return np.zeros([rows if isinstance(size, str) else size for size in shape], np.float32)


class SequenceBank:
    """The bank of `sequence` mode: references spread over the whole clip, filled before the first key frame.

    A frame that occurs twice among the references is run once and fills two slots. The outputs that the bank
    leaves out are kept too, so that a reference that is also a key frame is not run again.
    """

    def __init__(self, dims: Dimensions, references: Sequence[int]) -> None:
        self._slots = BankSlots(dims, len(references))
        self._slots_of: dict[int, list[int]] = defaultdict(list)
        for slot, index in enumerate(references):
            self._slots_of[index].append(slot)
        self._kept: dict[int, FrameBatch] = {}

    @property
    def bank(self) -> ReferenceBank:
        """The bank as the sequence engine takes it."""
        return self._slots.bank

    @property
    def wanted(self) -> list[int]:
        """Source indices to run, ascending, each once."""
        return sorted(self._slots_of)

    def add(self, index: int, frame: FrameBatch) -> None:
        """Fill every slot of a reference frame (a batch of one)."""
        for slot in self._slots_of[index]:
            self._slots.fill(slot, frame)
        self._kept[index] = self._slots.without_bank(frame)

    def recall(self, index: int) -> FrameBatch | None:
        """The frame engine's outputs for a reference frame; None if it is no reference or did not decode."""
        kept = self._kept.get(index)
        return None if kept is None else self._slots.recalled(self._slots_of[index][0], kept)

    @property
    def used(self) -> tuple[int, ...]:
        """Source indices of the filled slots, in order."""
        return tuple(index for index in self.wanted if index in self._kept for _ in self._slots_of[index])


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
        """Nothing to do: the sequence engine takes a key frame's own proposals besides the bank."""

    def after(self, position: int, frame: FrameBatch) -> None:
        """Keep the frame if the schedule says so, and remove those that leave."""
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
    """`count` copies of the first frame, as in the published demo (mmtracking's `inference_vid`)."""

    def __init__(self, dims: Dimensions, count: int) -> None:
        self._slots = BankSlots(dims, count)
        self._count = count

    @property
    def bank(self) -> ReferenceBank:
        """The bank as the sequence engine takes it."""
        return self._slots.bank

    def before(self, position: int, frame: FrameBatch) -> None:
        """The first frame fills every slot before its own detections are made."""
        if position == 0:
            for slot in range(self._count):
                self._slots.fill(slot, frame)

    def after(self, position: int, frame: FrameBatch) -> None:
        """Nothing to do: the bank does not change."""
