"""Issues of a data set: readers and checks log them, counted by kind, instead of raising an error for each.

A *fatal* issue makes a video, a frame or the whole split unusable or ambiguous. Training
and evaluation refuse to start on it. A *skipped* issue costs one annotation, which is left out or clipped;
the count is reported. Readers leave out what a fatal issue affects and continue, so that one pass finds
every issue.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from selsa_training.data.errors import DataError

IssueKind = Literal[
    "missing_file",
    "broken_file",
    "missing_video",
    "missing_image",
    "unreadable_image",
    "wrong_image_size",
    "duplicate_id",
    "bad_record",
    "empty_split",
    "repeated_entry",
    "unknown_class",
    "other_shape",
    "other_frame_rate",
    "box_without_area",
    "box_outside_image",
    "box_clipped",
]

FATAL: Final[dict[IssueKind, str]] = {
    "missing_file": "a list or annotation file does not exist",
    "broken_file": "an annotation file cannot be parsed",
    "missing_video": "a list names a video that does not exist",
    "missing_image": "an image does not exist",
    "unreadable_image": "an image cannot be decoded completely",
    "wrong_image_size": "the size of an image differs from its annotation",
    "duplicate_id": "an id occurs twice",
    "bad_record": "a record lacks a field or holds a value that is not allowed",
    "empty_split": "a split has no video, or no annotated object",
}
SKIPPED: Final[dict[IssueKind, str]] = {
    "repeated_entry": "a list names a video twice; the second time is left out",
    "unknown_class": "an object's class is not in the class list; the object is left out",
    "other_shape": "a label that is no box, such as a polygon; it is left out",
    "other_frame_rate": "labels count frames at another rate than the video; frames are scaled",
    "box_without_area": "a box is less than a pixel wide or high; the object is left out",
    "box_outside_image": "less than a pixel of a box is inside its image; the object is left out",
    "box_clipped": "a box reaches over the edge of its image by more than a pixel; it is clipped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One issue and its place.

    Attributes:
        kind: a key of `FATAL` or `SKIPPED`.
        file: the file that contains the issue.
        line: 1-based line in the file, if there is one.
        detail: the value found and the allowed values.
    """

    kind: IssueKind
    file: Path
    line: int | None = None
    detail: str = ""

    @property
    def fatal(self) -> bool:
        """Whether training refuses to start on it."""
        return self.kind in FATAL

    def __str__(self) -> str:
        """`FILE:LINE: kind: detail`, the format of compilers."""
        place = f"{self.file}:{self.line}" if self.line else f"{self.file}"
        return f"{place}: {self.kind.replace('_', ' ')}: {self.detail}"


@dataclass(slots=True, kw_only=True)
class IssueLog:
    """Counts every issue and keeps the first `keep` of each kind, so that memory is bounded."""

    keep: int = 100
    counts: Counter[IssueKind] = field(default_factory=Counter)
    kept: dict[IssueKind, list[Issue]] = field(default_factory=dict)

    def add(self, kind: IssueKind, file: Path, line: int | None = None, detail: str = "") -> None:
        """Count one issue."""
        self.counts[kind] += 1
        first = self.kept.setdefault(kind, [])
        if len(first) < self.keep:
            first.append(Issue(kind=kind, file=file, line=line, detail=detail))

    @property
    def fatal(self) -> int:
        """How many fatal issues there are."""
        return sum(count for kind, count in self.counts.items() if kind in FATAL)

    @property
    def skipped(self) -> int:
        """How many annotations were left out or clipped."""
        return sum(count for kind, count in self.counts.items() if kind in SKIPPED)

    @property
    def kinds(self) -> list[IssueKind]:
        """The kinds that were found, fatal ones first."""
        return [kind for kind in (*FATAL, *SKIPPED) if self.counts[kind]]

    def __iter__(self) -> Iterator[Issue]:
        """The kept issues: fatal kinds first, within a kind in order of discovery."""
        for kind in self.kinds:
            yield from self.kept[kind]

    def summary(self) -> str:
        """Counts by kind in one line, fatal kinds first; empty if there is nothing."""
        return ", ".join(f"{self.counts[kind]} {kind.replace('_', ' ')}" for kind in self.kinds)

    def raise_if_fatal(self) -> None:
        """Refuse a data set with fatal issues.

        Raises:
            DataError: there is at least one; it names the first and counts all.
        """
        if self.fatal:
            first = next(issue for issue in self if issue.fatal)
            raise DataError(f"{first} ({self.summary()}; `selsa check-data` lists them)")
