"""Choose the reader for a path. This is the only module that knows all readers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from selsa_training.data.errors import DataError
from selsa_training.data.formats.coco_records import Records
from selsa_training.data.formats.coco_vid import read_categories, read_coco_vid
from selsa_training.data.formats.cvat import read_cvat
from selsa_training.data.formats.epic_kitchens import LABELS_FILE, read_epic_kitchens
from selsa_training.data.formats.imagenet_vid import read_imagenet
from selsa_training.data.formats.label_studio import is_label_studio, read_label_studio
from selsa_training.data.formats.labelled import VIDEO_SUFFIXES, Labels, data_set, held_out
from selsa_training.data.formats.mot import mot_files, read_mot
from selsa_training.data.formats.yolo import read_yolo, yolo_file
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import DataSet

Split = Literal["train", "val"]

LAYOUTS: Final = (
    "a folder with Data and Annotations (ImageNet VID), a CocoVID .json file, a folder with train.json and "
    f"val.json, a folder with {LABELS_FILE} (EPIC-KITCHENS-55), CVAT's .xml for videos, Label Studio's "
    ".json, MOT sequences with gt/gt.txt, a YOLO folder with data.yaml, a COCO folder with annotations/*.json"
)
# COCO's own folders and Roboflow's, by split.
COCO_FILES: Final = {
    "train": ("annotations/instances_train*.json", "annotations/train.json", "train/_annotations.coco.json"),
    "val": (
        "annotations/instances_val*.json",
        "annotations/val.json",
        "valid/_annotations.coco.json",
        "val/_annotations.coco.json",
        "test/_annotations.coco.json",
    ),
}
UNSPLIT_COCO: Final = ("annotations/instances_default.json", "_annotations.coco.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """The data set named on the command line.

    Attributes:
        path: what the files of a research data set or of a labelling tool are in; see `LAYOUTS`.
        images: the folder of a COCO file's images or of the labelled videos, if not beside the labels.
        classes: the class list to read with; None: the data's own.
        with_det: add ImageNet DET to ImageNet VID's training videos.
        held_out: share of the videos that form `val`, where the data does not say; at least one of two or
            more. They are chosen by the SHA-256 of their names.
        val: names of the videos that form `val`, instead of a share.
        split_file: split a single CocoVID file too; otherwise it is one split as a whole.
    """

    path: Path
    images: Path | None = None
    classes: tuple[str, ...] | None = None
    with_det: bool = True
    held_out: float = 0.1
    val: tuple[str, ...] = ()
    split_file: bool = False


def open_data(
    source: DataSource, split: Split, log: IssueLog, *, progress: Callable[[int, int], None] | None = None
) -> DataSet:
    """Read a split of the data at the path. Problems inside go to the log; see `issues`.

    Call `log.raise_if_fatal()` before training on the result.

    Raises:
        DataError: the path does not exist, or it has none of the formats.
    """
    path = source.path
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if path.name == LABELS_FILE:
        return read_epic_kitchens(path.parent, split, log, held_out=source.held_out)
    if path.suffix == ".json" and not is_label_studio(path):
        data = read_coco_vid(path, source.images or path.parent, log, classes=source.classes)
        return _split(data, source, split) if source.split_file else data
    if (path / "Annotations").is_dir():
        return read_imagenet(path, split, log, with_det=source.with_det, progress=progress)
    if any((path / folder / LABELS_FILE).is_file() for folder in ("", "annotations")):
        return read_epic_kitchens(path, split, log, held_out=source.held_out)
    if any((path / f"{name}.json").is_file() for name in ("train", "val")):
        return read_coco_vid(path / f"{split}.json", source.images or path, log, classes=source.classes)
    if (images := _coco_images(source, split, log)) is not None:
        return images
    labels = _labels(source, log, progress)
    return data_set(labels, split, log, classes=source.classes, share=source.held_out, val=source.val)


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


def _labels(source: DataSource, log: IssueLog, progress: Callable[[int, int], None] | None) -> Labels:
    """Read the files of labelling tools at a path.

    Raises:
        DataError: there are none.
    """
    path = source.path
    files = _label_files(path)
    if not files:
        raise DataError(f"{path} is none of: {LAYOUTS}")
    labels = Labels(path)
    for done, file in enumerate(files, 1):
        folders = [*([source.images] if source.images else []), file.parent, path.parent]
        if file.suffix in (".yaml", ".yml"):
            read_yolo(file, labels, log)
        elif file.suffix == ".xml":
            read_cvat(file, folders, labels, log)
        elif file.suffix == ".json":
            read_label_studio(file, folders, labels, log)
        else:
            one = source.classes[0] if source.classes and len(source.classes) == 1 else None
            read_mot(file, folders, labels, log, only_class=one)
        if progress:
            progress(done, len(files))
    return labels


def _label_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix in (".xml", ".json", ".yaml", ".yml", ".txt") else []
    if (found := yolo_file(path)) is not None:
        return [found]
    if sequences := mot_files(path):
        return sequences
    if files := sorted(path.glob("*.xml")):
        return files
    if files := [file for file in sorted(path.glob("*.json")) if is_label_studio(file)]:
        return files
    texts = sorted(path.glob("*.txt"))
    return [file for file in texts if any(file.with_suffix(end).is_file() for end in VIDEO_SUFFIXES)]


def _coco_images(source: DataSource, split: Split, log: IssueLog) -> DataSet | None:
    """A split of a COCO folder; None if the path is not one."""
    root = source.path
    for pattern in COCO_FILES[split]:
        for file in sorted(root.glob(pattern)):
            return read_coco_vid(file, source.images or _images_of(file), log, classes=source.classes)
    if any(next(root.glob(pattern), None) for patterns in COCO_FILES.values() for pattern in patterns):
        log.add("missing_file", root / COCO_FILES[split][0], None, f"the annotations of {split}")
        return read_coco_vid(root / f"{split}.json", root, log, classes=source.classes)
    for name in UNSPLIT_COCO:
        if (file := root / name).is_file():
            data = read_coco_vid(file, source.images or _images_of(file), log, classes=source.classes)
            return _split(data, source, split)
    return None


def _images_of(file: Path) -> Path:
    """Where the images of a COCO file are: beside it, or where COCO and CVAT put them."""
    if file.parent.name != "annotations":
        return file.parent
    root, part = file.parent.parent, file.stem.removeprefix("instances_")
    folders = (root / part, root / "images" / part, root / "images")
    return next((folder for folder in folders if folder.is_dir()), root)


def _split(data: DataSet, source: DataSource, split: Split) -> DataSet:
    chosen = set(source.val) or held_out(data.video_names, source.held_out)
    wanted = [i for i, name in enumerate(data.video_names) if (name in chosen) == (split == "val")]
    return data.select(wanted)
