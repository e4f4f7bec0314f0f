"""Choose the reader for a path. This is the only module that knows all readers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from selsa_training.data.errors import DataError
from selsa_training.data.formats.coco_records import Records
from selsa_training.data.formats.coco_vid import read_categories, read_coco_vid
from selsa_training.data.formats.epic_kitchens import LABELS_FILE, read_epic_kitchens
from selsa_training.data.formats.imagenet_vid import read_imagenet
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import DataSet

Split = Literal["train", "val"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """The data that a person named.

    Attributes:
        path: ImageNet's root (with `Data` and `Annotations`), EPIC-KITCHENS' root or its CSV, a CocoVID file,
            or a folder with `train.json` and `val.json` in that format, such as `selsa synthesize` writes.
        images: the folder of a CocoVID file's images, if not the one that the file is in.
        classes: the class list to read CocoVID with; None: the file's own.
        with_det: add ImageNet DET to ImageNet VID's training videos.
        held_out: share of the EPIC-KITCHENS videos that form `val`.
    """

    path: Path
    images: Path | None = None
    classes: tuple[str, ...] | None = None
    with_det: bool = True
    held_out: float = 0.1


def open_data(
    source: DataSource, split: Split, log: IssueLog, *, progress: Callable[[int, int], None] | None = None
) -> DataSet:
    """Read a split of the data at the path. Problems inside go to the log; see `issues`.

    Call `log.raise_if_fatal()` before training on the result.

    Raises:
        DataError: the path does not exist, or it is none of the formats.
    """
    path = source.path
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if path.suffix == ".json":
        return read_coco_vid(path, source.images or path.parent, log, classes=source.classes)
    if path.name == LABELS_FILE:
        return read_epic_kitchens(path.parent, split, log, held_out=source.held_out)
    if (path / "Annotations").is_dir():
        return read_imagenet(path, split, log, with_det=source.with_det, progress=progress)
    if any((path / place / LABELS_FILE).is_file() for place in ("", "annotations")):
        return read_epic_kitchens(path, split, log, held_out=source.held_out)
    if any((path / f"{name}.json").is_file() for name in ("train", "val")):
        return read_coco_vid(path / f"{split}.json", source.images or path, log, classes=source.classes)
    raise DataError(
        f"{path} is none of: a folder with Data and Annotations (ImageNet VID), a CocoVID .json file, a "
        f"folder with train.json and val.json, a folder with {LABELS_FILE} (EPIC-KITCHENS-55)"
    )


def check_classes(source: DataSource) -> None:
    """Refuse a training and a validation set with different classes.

    Only a folder with `train.json` and `val.json` can have different ones: every other format has one list of
    classes. Their order may differ, since categories are matched by name.

    Raises:
        DataError: they differ; the message names the classes that only one of them has.
    """
    files = [source.path / f"{split}.json" for split in ("train", "val")]
    if not all(path.is_file() for path in files):
        return
    # What is wrong inside the files is reported when they are read.
    tables = [read_categories(Records.load(path, IssueLog())) for path in files]
    train, val = ({row["name"] for row in table.values()} for table in tables)
    if train and val and train != val:
        parts = [
            f"only {path.name} has {', '.join(sorted(names))}"
            for path, names in zip(files, (train - val, val - train), strict=True)
            if names
        ]
        raise DataError(f"{source.path}: the classes of training and validation differ: {'; '.join(parts)}")
