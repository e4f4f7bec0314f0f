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
from typing import Any, Final
from xml.parsers import expat

from selsa_training.data.formats.labelled import (
    MAX_FRAME,
    MAX_PIXELS,
    Keyframe,
    LabelledTrack,
    LabelledVideo,
    Labels,
    find_video,
    open_media,
)
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import OCCLUDED

MAX_BYTES: Final = 1 << 30
MAX_TEXT: Final = 1 << 16
MAX_DEPTH: Final = 32
CHUNK: Final = 1 << 20
SHAPES: Final = frozenset({"polygon", "polyline", "points", "cuboid", "ellipse", "mask", "skeleton"})


class _BrokenError(Exception):
    """The file is not what CVAT writes; carries the line."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(slots=True)
class _Task:
    """What `<meta>` says of one task."""

    values: dict[str, str] = field(default_factory=dict)
    tracks: list[LabelledTrack] = field(default_factory=list)
    line: int = 1

    def whole(self, name: str, default: int | None) -> int | None:
        text = self.values.get(name)
        return _whole(name, text, self.line) if text else default


def read_cvat(path: Path, folders: Sequence[Path], labels: Labels, log: IssueLog) -> None:
    """Add the videos of one file to `labels`; what is wrong goes to the log with its line.

    Args:
        folders: where the videos may be.
        labels: takes videos and class names.
    """
    parse = _Parse()
    try:
        parse.run(path)
        for task in parse.tasks.values():
            _add_task(task, path, folders, labels, log)
    except _BrokenError as error:
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
    step = _whole("frame_filter", value, line) if name.strip() == "step" else 0
    if step < 1:
        raise _BrokenError(f"<frame_filter> {text[:40]!r} is not step=N", line)
    return step


class _Parse:
    """The state of one parse. Expat knows line numbers and is stopped at a DOCTYPE, so no entity expands."""

    def __init__(self) -> None:
        self.tasks: dict[str, _Task] = {}
        self.classes: list[str] = []
        self.left_out: dict[str, tuple[int, int]] = {}
        self._task = _Task()
        self._track: LabelledTrack | None = None
        self._path: list[str] = []
        self._text = ""
        self._parser: Any = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype

    def run(self, path: Path) -> None:
        read = 0
        try:
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    read += len(chunk)
                    if read > MAX_BYTES:
                        raise _BrokenError(f"more than {MAX_BYTES >> 20} MiB")
                    self._parser.Parse(chunk, False)  # noqa: FBT003  no name for it: it is final
                self._parser.Parse(b"", True)  # noqa: FBT003
        except expat.ExpatError as error:
            raise _BrokenError(f"not well-formed XML: {error}", error.lineno) from error
        if not self.tasks:
            raise _BrokenError("<meta> has no <task>; export it from CVAT as 'CVAT for video 1.1'", 1)

    @property
    def _line(self) -> int:
        return int(self._parser.CurrentLineNumber)

    def _refuse_doctype(self, *_: object) -> None:
        raise _BrokenError("a DOCTYPE is not allowed", self._line)

    def _characters(self, text: str) -> None:
        self._text += text
        if len(self._text) > MAX_TEXT:
            raise _BrokenError(f"a text of more than {MAX_TEXT} characters", self._line)

    def _start(self, name: str, values: dict[str, str]) -> None:
        self._text = ""
        if not self._path and name != "annotations":
            raise _BrokenError(f"begins with <{name[:40]}>, not <annotations>", self._line)
        self._path.append(name)
        if len(self._path) > MAX_DEPTH:
            raise _BrokenError(f"more than {MAX_DEPTH} elements inside each other", self._line)
        if name in ("task", "job") and "meta" in self._path:
            self._task = _Task(line=self._line)
        elif name == "image" and len(self._path) == 2:
            raise _BrokenError("is 'CVAT for images'; export it as 'CVAT for video 1.1'", self._line)
        elif name == "track" and len(self._path) == 2:
            self._begin_track(values)
        elif self._track is not None and len(self._path) == 3:
            if name == "box":
                self._box(self._track, values)
            elif name in SHAPES:
                count, line = self.left_out.get(name, (0, self._line))
                self.left_out[name] = (count + 1, line)

    def _end(self, name: str) -> None:
        self._path.pop()
        parent = self._path[-1] if self._path else ""
        if parent in ("task", "job") and "meta" in self._path:
            self._task.values[name] = self._text.strip()
        elif name in ("task", "job") and "meta" in self._path:
            self.tasks[self._task.values.get("id", "")] = self._task
        elif name == "source" and parent == "meta":
            for task in self.tasks.values():
                task.values.setdefault("source", self._text.strip())
        elif name == "name" and parent == "label" and "meta" in self._path:
            self.classes.append(self._text.strip())
        elif name == "track" and len(self._path) == 1:
            self._track = None

    def _begin_track(self, values: dict[str, str]) -> None:
        if not self.tasks:
            raise _BrokenError("<track> before a <meta> with a <task>", self._line)
        task = self.tasks.get(values.get("task_id", "")) or next(iter(self.tasks.values()))
        if "task_id" in values and len(self.tasks) > 1 and values["task_id"] not in self.tasks:
            raise _BrokenError(f"task_id {values['task_id'][:40]!r} is no task of <meta>", self._line)
        label = values.get("label", "")
        if not label:
            raise _BrokenError("<track> without a label", self._line)
        # Ids begin anew in each task of a project.
        self._track = LabelledTrack(label, len(task.tracks))
        task.tracks.append(self._track)

    def _box(self, track: LabelledTrack, values: dict[str, str]) -> None:
        if values.get("keyframe", "1") != "1":
            return
        line = self._line
        x1, y1, x2, y2 = (_number(name, values.get(name), line) for name in ("xtl", "ytl", "xbr", "ybr"))
        seen = values.get("outside", "0") != "1"
        track.keyframes.append(
            Keyframe(
                frame=_whole("frame", values.get("frame"), line),
                box=(x1, y1, x2 - x1, y2 - y1),
                rotation=_number("rotation", values.get("rotation", "0"), line),
                visible=seen,
                continues=seen,
                flags=OCCLUDED if values.get("occluded") == "1" else 0,
                line=line,
            )
        )


def _whole(name: str, text: str | None, line: int) -> int:
    if text is None or not text.strip().isdecimal() or len(text) > 12 or int(text) >= MAX_FRAME:
        raise _BrokenError(f"{name} {(text or '')[:40]!r} is no whole number", line)
    return int(text)


def _number(name: str, text: str | None, line: int) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = float("nan")
    # Also refuses what is not finite.
    if not abs(number) < MAX_PIXELS:
        raise _BrokenError(f"{name} {(text or '')[:40]!r} is no number", line)
    return number
