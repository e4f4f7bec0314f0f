"""CVAT's own XML for videos ("CVAT for video 1.1"), as its importer understands it.

    <annotations>
      <meta><task> name, start_frame, stop_frame, frame_filter "step=N", labels, source </task></meta>
      <track id="0" label="car">
        <box frame="0" keyframe="1" outside="0" occluded="0" xtl="1" ytl="2" xbr="3" ybr="4" rotation="0"/>

Frames are numbers in the source video, from 0. Boxes with keyframe="0" repeat what follows from the key
frames and are left out, as CVAT's importer does. A box counts until the next key frame, towards which it
moves; the last one counts until the end of the task. From a box with outside="1" on the object is not seen.
Rotation is about the centre, the shorter way. The export of a project has several tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from selsa_training.data.formats.labelled import (
    MAX_FRAME,
    Keyframe,
    LabelledTrack,
    LabelledVideo,
    Labels,
    find_video,
    open_media,
)
from selsa_training.data.formats.untrusted_xml import BrokenXmlError, XmlParse, number, whole_number
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import OCCLUDED

MAX_BYTES: Final = 1 << 30
SHAPES: Final = frozenset({"polygon", "polyline", "points", "cuboid", "ellipse", "mask", "skeleton"})


@dataclass(slots=True)
class _Task:
    """What `<meta>` says of one task."""

    values: dict[str, str] = field(default_factory=dict)
    tracks: list[LabelledTrack] = field(default_factory=list)
    line: int = 1

    def whole(self, name: str, default: int | None) -> int | None:
        text = self.values.get(name)
        return whole_number(name, text, self.line, MAX_FRAME) if text else default


def read_cvat(path: Path, folders: Sequence[Path], labels: Labels, log: IssueLog) -> None:
    """Add the videos of one file to `labels`; what is wrong goes to the log with its line.

    Args:
        folders: where the videos may be.
        labels: takes videos and class names.
    """
    parse = _Parse()
    try:
        parse.run(path, MAX_BYTES)
        if not parse.tasks:
            raise BrokenXmlError("<meta> has no <task>; export it from CVAT as 'CVAT for video 1.1'", 1)
        for task in parse.tasks.values():
            _add_task(task, path, folders, labels, log)
    except BrokenXmlError as error:
        log.add("broken_file", path, error.line, str(error))
    except OSError as error:
        log.add("broken_file", path, None, f"cannot be read: {error.strerror}")
    else:
        labels.classes += [name for name in dict.fromkeys(parse.classes) if name not in labels.classes]
        for name, (count, line) in parse.left_out.items():
            log.add("other_shape", path, line, f"{count} <{name}> are no boxes")


def _add_task(task: _Task, path: Path, folders: Sequence[Path], labels: Labels, log: IssueLog) -> None:
    source = task.values.get("source") or task.values.get("name") or path.stem
    media = open_media(find_video(source, folders), log, path, task.line)
    if media is None:
        return
    step = _step(task.values.get("frame_filter", ""), task.line)
    start = task.whole("start_frame", 0) or 0
    stop = task.whole("stop_frame", None)
    last = len(media.names) - 1
    if stop is not None and stop > last:
        detail = f"stop_frame {stop}, but {media.folder.name} has {last + 1} frames, from 0"
        log.add("bad_record", path, task.line, detail)
        return
    names = {video.name for video in labels.videos}
    name = Path(source).stem
    if name in names:
        name = f"{name}-{task.values.get('id') or len(names)}"
    if name in names:
        log.add("duplicate_id", path, task.line, f"video {source!r} is labelled twice")
        return
    frames = range(start, (last if stop is None else stop) + 1, step)
    labels.videos.append(LabelledVideo(name, path, media, frames, task.tracks))


def _step(text: str, line: int) -> int:
    if not text.strip():
        return 1
    name, _, value = text.partition("=")
    step = whole_number("frame_filter", value, line, MAX_FRAME) if name.strip() == "step" else 0
    if step < 1:
        raise BrokenXmlError(f"<frame_filter> {text[:40]!r} is not step=N", line)
    return step


class _Parse(XmlParse):
    """The tasks, tracks and classes of a file."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, _Task] = {}
        self.classes: list[str] = []
        self.left_out: dict[str, tuple[int, int]] = {}
        self._task = _Task()
        self._track: LabelledTrack | None = None

    def start(self, name: str, values: dict[str, str]) -> None:
        if len(self.path) == 1 and name != "annotations":
            raise BrokenXmlError(f"begins with <{name[:40]}>, not <annotations>", self.line)
        if name in ("task", "job") and "meta" in self.path:
            self._task = _Task(line=self.line)
        elif name == "image" and len(self.path) == 2:
            raise BrokenXmlError("is 'CVAT for images'; export it as 'CVAT for video 1.1'", self.line)
        elif name == "track" and len(self.path) == 2:
            self._begin_track(values)
        elif self._track is not None and len(self.path) == 3:
            if name == "box":
                self._box(self._track, values)
            elif name in SHAPES:
                count, line = self.left_out.get(name, (0, self.line))
                self.left_out[name] = (count + 1, line)

    def end(self, name: str, parent: str) -> None:
        if parent in ("task", "job") and "meta" in self.path:
            self._task.values[name] = self.text.strip()
        elif name in ("task", "job") and "meta" in self.path:
            self.tasks[self._task.values.get("id", "")] = self._task
        elif name == "source" and parent == "meta":
            for task in self.tasks.values():
                task.values.setdefault("source", self.text.strip())
        elif name == "name" and parent == "label" and "meta" in self.path:
            self.classes.append(self.text.strip())
        elif name == "track" and len(self.path) == 1:
            self._track = None

    def _begin_track(self, values: dict[str, str]) -> None:
        if not self.tasks:
            raise BrokenXmlError("<track> before a <meta> with a <task>", self.line)
        task = self.tasks.get(values.get("task_id", "")) or next(iter(self.tasks.values()))
        if "task_id" in values and len(self.tasks) > 1 and values["task_id"] not in self.tasks:
            raise BrokenXmlError(f"task_id {values['task_id'][:40]!r} is no task of <meta>", self.line)
        label = values.get("label", "")
        if not label:
            raise BrokenXmlError("<track> without a label", self.line)
        # Ids begin anew in each task of a project.
        self._track = LabelledTrack(label, len(task.tracks))
        task.tracks.append(self._track)

    def _box(self, track: LabelledTrack, values: dict[str, str]) -> None:
        if values.get("keyframe", "1") != "1":
            return
        line = self.line
        x1, y1, x2, y2 = (number(name, values.get(name), line) for name in ("xtl", "ytl", "xbr", "ybr"))
        seen = values.get("outside", "0") != "1"
        track.keyframes.append(
            Keyframe(
                frame=whole_number("frame", values.get("frame"), line, MAX_FRAME),
                box=(x1, y1, x2 - x1, y2 - y1),
                rotation=number("rotation", values.get("rotation", "0"), line),
                visible=seen,
                continues=seen,
                flags=OCCLUDED if values.get("occluded") == "1" else 0,
                line=line,
            )
        )
