"""One ImageNet annotation file (PASCAL VOC's XML), read as untrusted input.

Expat is used directly, because it reports line numbers. A DOCTYPE ends the parse: without one no entity can
be declared or expanded, and ImageNet's files have none.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.parsers import expat

# The largest file of ImageNet VID has some 10 kB.
MAX_BYTES: Final = 4 << 20
FIELDS: Final = frozenset({"name", "trackid", "occluded", "generated", "xmin", "ymin", "xmax", "ymax"})
CORNERS: Final = ("xmin", "ymin", "xmax", "ymax")


class BrokenAnnotationError(Exception):
    """The file is no well-formed annotation; carries the line."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class XmlObject:
    """One `<object>`.

    Attributes:
        box: xmin, ymin, xmax, ymax, in pixels.
        track: number within the video, None in ImageNet DET.
        occluded: at least half hidden, as the annotators saw it.
        generated: interpolated, not drawn by a person.
        line: where it begins.
    """

    name: str
    box: tuple[float, float, float, float]
    track: int | None
    occluded: bool
    generated: bool
    line: int


@dataclass(slots=True)
class XmlAnnotation:
    """A whole file; `height` and `width` in pixels."""

    height: int = 0
    width: int = 0
    objects: list[XmlObject] = field(default_factory=list)


def read_annotation(path: Path) -> XmlAnnotation:
    """Read one annotation file.

    Raises:
        FileNotFoundError: there is none.
        BrokenAnnotationError: it is not well-formed, has a DOCTYPE, or lacks a field.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BrokenAnnotationError(f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise BrokenAnnotationError(f"more than {MAX_BYTES} bytes is no annotation")
    return _Parse().run(data)


class _Parse:
    """The state of one parse: where in the tree it is, and the fields of the object at hand."""

    def __init__(self) -> None:
        self.found = XmlAnnotation()
        self.path: list[str] = []
        self.text = ""
        self.values: dict[str, str] = {}
        self.line = 0
        self.parser: Any = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype

    def run(self, data: bytes) -> XmlAnnotation:
        try:
            self.parser.Parse(data, True)  # noqa: FBT003  no name for it: it is final
        except expat.ExpatError as error:
            raise BrokenAnnotationError(f"not well-formed XML: {error}", error.lineno) from error
        if self.found.height < 1 or self.found.width < 1:
            raise BrokenAnnotationError("no <size> with a positive <width> and <height>")
        return self.found

    def _refuse_doctype(self, *_: object) -> None:
        raise BrokenAnnotationError("a DOCTYPE is not allowed", self.parser.CurrentLineNumber)

    def _characters(self, text: str) -> None:
        self.text += text

    def _start(self, name: str, _: dict[str, str]) -> None:
        self.text = ""
        self.path.append(name)
        if name == "object" and len(self.path) == 2:
            self.values = {}
            self.line = self.parser.CurrentLineNumber

    def _end(self, name: str) -> None:
        self.path.pop()
        parent = self.path[-1] if self.path else ""
        if name in FIELDS and "object" in self.path:
            self.values.setdefault(name, self.text.strip())
        elif parent == "size" and name in ("width", "height"):
            setattr(self.found, name, self._whole(name, self.text))
        elif name == "object" and len(self.path) == 1:
            self.found.objects.append(self._object())

    def _object(self) -> XmlObject:
        values = self.values
        missing = [name for name in ("name", *CORNERS) if name not in values]
        if missing:
            raise BrokenAnnotationError(f"an <object> without <{'>, <'.join(missing)}>", self.line)
        x1, y1, x2, y2 = (self._number(corner, values[corner]) for corner in CORNERS)
        track = self._whole("trackid", values["trackid"]) if "trackid" in values else None
        return XmlObject(
            values["name"],
            (x1, y1, x2, y2),
            track,
            values.get("occluded") == "1",
            values.get("generated") == "1",
            self.line,
        )

    def _whole(self, name: str, text: str) -> int:
        number = self._number(name, text)
        if number != int(number) or not 0 <= number < 1 << 24:
            raise BrokenAnnotationError(f"<{name}> {text[:40]!r} is no whole number", self.line)
        return int(number)

    def _number(self, name: str, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        # Also refuses NaN and infinity.
        if not abs(number) < 1 << 24:
            raise BrokenAnnotationError(f"<{name}> {text[:40]!r} is no number", self.line)
        return number
