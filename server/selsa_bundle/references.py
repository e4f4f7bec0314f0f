"""The choice of reference frames: over a whole clip, or among the frames of a stream so far."""

from dataclasses import dataclass, field


def spread_references(frame_count: int, count: int) -> list[int]:
    """Indices of `count` reference frames spread evenly over a clip, first and last frame included.

    `round(i * (n - 1) / (count - 1))` for i = 0 .. count-1, Python's rounding, duplicates kept, ascending:
    mmtracking's `test_with_adaptive_stride`. A single reference frame is the middle one; the published code
    has no such case.

    Raises:
        ValueError: `frame_count` is not positive or `count` is negative.
    """
    if frame_count < 1 or count < 0:
        raise ValueError(f"need at least one frame and no negative count, got {frame_count} and {count}")
    if count == 1:
        return [(frame_count - 1) // 2]
    return [round(i * (frame_count - 1) / (count - 1)) for i in range(count)]


@dataclass(slots=True, kw_only=True)
class OnlineReferences:
    """Frames of a stream that stay in a bank of fixed capacity, evenly spread over the past.

    Frames whose position is a multiple of `stride` are kept. When one too many is kept, the stride doubles
    and every other frame leaves. So capacity/2 to capacity frames always cover the whole past.
    """

    capacity: int
    stride: int = 1
    kept: list[int] = field(default_factory=list)

    def may_change_at(self, position: int) -> bool:
        """False if offering the frame at `position` is certain to change nothing."""
        return self.capacity > 0 and position % self.stride == 0

    def offer(self, position: int) -> tuple[bool, list[int]]:
        """Offer the frame at `position` (0, 1, 2, ... in order).

        Returns:
            Whether to keep the frame, and the positions that leave the bank because of it.
        """
        if not self.may_change_at(position):
            return False, []
        self.kept.append(position)
        if len(self.kept) <= self.capacity:
            return True, []
        self.stride *= 2
        leaving = [p for p in self.kept if p % self.stride]
        self.kept = [p for p in self.kept if p % self.stride == 0]
        stays = position not in leaving
        return stays, [p for p in leaving if p != position]
