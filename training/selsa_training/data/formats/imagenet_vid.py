"""ImageNet VID and DET (ILSVRC 2015), straight from their own layout.

    ROOT/Data/VID/{train,val}/...           ROOT/Annotations/VID/...       JPEG and XML per frame
    ROOT/Data/DET/train/...                 ROOT/Annotations/DET/...
    ROOT/ImageSets/VID/VID_train_15frames.txt, VID_val_videos.txt, DET_train_30classes.txt

Coordinates are taken as they are, as edges: a box is (xmin, ymin, xmax, ymax) without the +1 of inclusive
pixels. So does mmtracking's converter, and so scores are comparable with its own.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Literal

from selsa_bundle.classes import IMAGENET_VID, IMAGENET_VID_WORDNET
from selsa_training.data.building import DataSetBuilder, FoundObject
from selsa_training.data.formats.imagenet_lists import (
    ListedVideo,
    find_list,
    read_frame_list,
    read_image_list,
    read_video_list,
)
from selsa_training.data.formats.imagenet_xml import XmlAnnotation, read_annotation
from selsa_training.data.formats.untrusted_xml import BrokenXmlError
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import GENERATED, OCCLUDED, UNKNOWN_TRACK, DataSet

LABELS: Final = {wordnet: label for label, wordnet in enumerate(IMAGENET_VID_WORDNET.values())}
Progress = Callable[[int, int], None]


def read_imagenet(
    root: Path,
    split: Literal["train", "val"],
    log: IssueLog,
    *,
    with_det: bool = True,
    progress: Progress | None = None,
) -> DataSet:
    """Read a split.

    Args:
        root: the folder that holds `Data`, `Annotations` and the lists.
        split: `train` has the videos of the 15-frame list, whose frames are the training keys, and all other
            frames of those videos as references; `val` all frames of the validation videos.
        with_det: add the DET images of the 30 classes to `train`. Their objects of the other 170 classes are
            left out, by design and uncounted.
        progress: called with (videos and images read, all of them).
    """
    builder = DataSetBuilder(IMAGENET_VID, log)
    videos = _listed_videos(root, split, log)
    images = _listed_images(root, log) if split == "train" and with_det else (Path(), [])
    total = len(videos) + len(images[1])
    for done, (source, video) in enumerate(videos):
        _read_video(builder, root, source, video)
        if progress:
            progress(done + 1, total)
    for done, (line, name) in enumerate(images[1], len(videos)):
        _read_still(builder, root, images[0], line, name)
        if progress:
            progress(done + 1, total)
    return builder.build(root, split)


def _listed_videos(root: Path, split: str, log: IssueLog) -> list[tuple[Path, ListedVideo]]:
    names = ("VID_train_15frames.txt",) if split == "train" else ("VID_val_videos.txt", "val.txt")
    path = find_list(root, *names)
    if path is None:
        log.add("missing_file", root / "ImageSets/VID" / names[0], None, f"the list of {split} videos")
        return []
    if path.name == "val.txt":
        videos = read_frame_list(path, log, "val")
    else:
        videos = read_video_list(path, log, training=split == "train")
    return [(path, video) for video in videos.values()]


def _listed_images(root: Path, log: IssueLog) -> tuple[Path, list[tuple[int, str]]]:
    path = find_list(root, "DET_train_30classes.txt")
    if path is None:
        missing = root / "ImageSets/VID/DET_train_30classes.txt"
        log.add("missing_file", missing, None, "the list of DET images; train without DET if that is meant")
        return root, []
    return path, read_image_list(path, log)


def _read_video(builder: DataSetBuilder, root: Path, source: Path, video: ListedVideo) -> None:
    folder, annotations = root / "Data/VID" / video.folder, root / "Annotations/VID" / video.folder
    images = _file_names(folder)
    if images is None:
        builder.log.add("missing_video", source, video.line, f"{folder} is not there")
        return
    builder.start_video(video.folder, folder)
    for frame in range(video.frame_count):
        if f"{frame:06d}.JPEG" not in images:
            builder.log.add("missing_image", folder / f"{frame:06d}.JPEG", None, f"named by {source.name}")
            continue
        xml = annotations / f"{frame:06d}.xml"
        if (annotation := _annotation(xml, builder.log)) is not None:
            builder.add_frame(
                f"{frame:06d}.JPEG",
                (annotation.height, annotation.width),
                key=video.keys is None or frame in video.keys,
            )
            _add_objects(builder, annotation, xml, others_are_issues=True)


def _read_still(builder: DataSetBuilder, root: Path, source: Path, line: int, name: str) -> None:
    image, xml = root / "Data/DET" / f"{name}.JPEG", root / "Annotations/DET" / f"{name}.xml"
    if not image.is_file():
        builder.log.add("missing_image", source, line, f"{image} is not there")
        return
    if (annotation := _annotation(xml, builder.log)) is not None:
        builder.start_video(name, image.parent, still=True)
        builder.add_frame(image.name, (annotation.height, annotation.width))
        _add_objects(builder, annotation, xml, others_are_issues=False)


def _annotation(path: Path, log: IssueLog) -> XmlAnnotation | None:
    try:
        return read_annotation(path)
    except FileNotFoundError:
        log.add("missing_file", path, None, "the annotation of a frame")
    except OSError as error:
        log.add("broken_file", path, None, f"cannot be read: {error.strerror}")
    except BrokenXmlError as error:
        log.add("broken_file", path, error.line, str(error))
    return None


def _add_objects(
    builder: DataSetBuilder, annotation: XmlAnnotation, source: Path, *, others_are_issues: bool
) -> None:
    for item in annotation.objects:
        label = LABELS.get(item.name)
        if label is not None:
            builder.add_object(
                FoundObject(
                    label=label,
                    box=item.box,
                    track=UNKNOWN_TRACK if item.track is None else item.track,
                    flags=OCCLUDED * item.occluded | GENERATED * item.generated,
                ),
                source,
                item.line,
            )
        elif others_are_issues:
            builder.log.add("unknown_class", source, item.line, f"{item.name[:40]!r} is none of the 30")


def _file_names(folder: Path) -> Iterable[str] | None:
    """All names in a folder, read at once, because a check of each of 1.1 million images takes minutes."""
    try:
        return set(os.listdir(folder))  # noqa: PTH208  names are all that is wanted
    except OSError:
        return None
