"""One ImageNet annotation file: PASCAL VOC's XML."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from selsa_training.data.formats.untrusted_xml import BrokenXmlError, XmlParse, number, whole_number

# The largest file of ImageNet VID has some 10 kB.
MAX_BYTES: Final = 4 << 20
FIELDS: Final = frozenset({"name", "trackid", "occluded", "generated", "xmin", "ymin", "xmax", "ymax"})
CORNERS: Final = ("xmin", "ymin", "xmax", "ymax")


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
        OSError: it cannot be read.
        BrokenXmlError: it is not well-formed, has a DOCTYPE, or lacks a field.
    """
    parse = _Parse()
    parse.run(path, MAX_BYTES)
    if parse.found.height < 1 or parse.found.width < 1:
        raise BrokenXmlError("no <size> with a positive <width> and <height>")
    return parse.found


class _Parse(XmlParse):
    """The objects of a file, and the fields of the object at hand."""

    def __init__(self) -> None:
        super().__init__()
        self.found = XmlAnnotation()
        self._values: dict[str, str] = {}
        self._begin = 0

    def start(self, name: str, _: dict[str, str]) -> None:
        if name == "object" and len(self.path) == 2:
            self._values, self._begin = {}, self.line

    def end(self, name: str, parent: str) -> None:
        if name in FIELDS and "object" in self.path:
            self._values.setdefault(name, self.text.strip())
        elif parent == "size" and name in ("width", "height"):
            setattr(self.found, name, whole_number(f"<{name}>", self.text, self.line))
        elif name == "object" and len(self.path) == 1:
            self.found.objects.append(_object(self._values, self._begin))


def _object(values: dict[str, str], line: int) -> XmlObject:
    missing = [name for name in ("name", *CORNERS) if name not in values]
    if missing:
        raise BrokenXmlError(f"an <object> without <{'>, <'.join(missing)}>", line)
    x1, y1, x2, y2 = (number(f"<{corner}>", values[corner], line) for corner in CORNERS)
    track = whole_number("<trackid>", values["trackid"], line) if "trackid" in values else None
    return XmlObject(
        values["name"],
        (x1, y1, x2, y2),
        track,
        values.get("occluded") == "1",
        values.get("generated") == "1",
        line,
    )
