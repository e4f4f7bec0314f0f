"""The report of `selsa check-data` about a split, as text and as JSON."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from selsa_training.data.check import check_images
from selsa_training.data.errors import DataError
from selsa_training.data.formats.label_studio import is_label_studio
from selsa_training.data.formats.open_data import DataSource, open_data
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import DataSet

Split = Literal["train", "val"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class DataReport:
    """A split and its issues."""

    split: Split
    data: DataSet
    log: IssueLog

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        per_class = np.bincount(self.data.labels, minlength=len(self.data.classes))
        return {
            "split": self.split,
            "videos": self.data.video_count,
            "frames": self.data.frame_count,
            "key_frames": len(self.data.training_keys()),
            "objects": self.data.object_count,
            "objects_by_class": dict(zip(self.data.classes, per_class.tolist(), strict=True)),
            "fatal": self.log.fatal,
            "skipped": self.log.skipped,
            "counts": dict(self.log.counts),
            "issues": [
                {"kind": i.kind, "fatal": i.fatal, "file": str(i.file), "line": i.line, "detail": i.detail}
                for i in self.log
            ],
        }


def splits_of(path: Path, asked: Sequence[str] | None) -> tuple[Split, ...]:
    """The splits to check: the requested ones, by default both; a single CocoVID file is one split.

    Raises:
        DataError: a split is neither train nor val.
    """
    known: tuple[Split, ...] = get_args(Split)
    if unknown := [name for name in asked or () if name not in known]:
        raise DataError(f"--split {unknown[0]!r} is neither train nor val")
    if path.suffix == ".json" and not is_label_studio(path):
        return ("train",)
    return tuple(name for name in known if not asked or name in asked)


def check(
    source: DataSource,
    split: Split,
    log: IssueLog,
    *,
    decode: bool,
    workers: int,
    reading: Progress | None = None,
    looking: Progress | None = None,
) -> DataReport:
    """Read a split and check all its images; issues are in the log.

    Args:
        decode: decode images completely.
        workers: threads that check images.
        reading: progress of reading annotations.
        looking: progress of checking images.

    Raises:
        DataError: there is no data set.
    """
    data = open_data(source, split, log, progress=reading)
    check_images(data, log, decode=decode, workers=workers, progress=looking)
    return DataReport(split, data, log)


def write_report(path: Path, data: Path, reports: Sequence[DataReport]) -> None:
    """Write reports as JSON, complete or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    content = {"data": str(data), "splits": [report.as_dict() for report in reports]}
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
