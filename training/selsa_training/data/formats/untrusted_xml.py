"""XML files as untrusted input, read element by element.

Expat is used directly, because it reports line numbers. A DOCTYPE ends the parse: without one no entity can
be declared or expanded.
"""

from pathlib import Path
from typing import Any, Final
from xml.parsers import expat

from selsa_training.data.formats.labelled import MAX_PIXELS

MAX_TEXT: Final = 1 << 16
MAX_DEPTH: Final = 32
CHUNK: Final = 1 << 20


class BrokenXmlError(Exception):
    """The file is not what it should be; carries the line."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class XmlParse:
    """One parse of one file.

    Attributes:
        path: names of the open elements, outermost first; in `end` without the element that ended.
        text: the text since the last start of an element.
    """

    def __init__(self) -> None:
        self.path: list[str] = []
        self.text = ""
        self._parser: Any = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype

    def start(self, name: str, values: dict[str, str]) -> None:
        """An element with these attributes started."""

    def end(self, name: str, parent: str) -> None:
        """An element of `parent` ended; the parent of the outermost one is ""."""

    def run(self, path: Path, most_bytes: int) -> None:
        """Parse a file of at most `most_bytes`.

        Raises:
            OSError: the file cannot be read.
            BrokenXmlError: it is larger or not well-formed, or has a DOCTYPE.
        """
        read = 0
        try:
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    read += len(chunk)
                    if read > most_bytes:
                        raise BrokenXmlError(f"more than {most_bytes >> 20} MiB")
                    self._parser.Parse(chunk, False)  # noqa: FBT003  no name for it: it is final
                self._parser.Parse(b"", True)  # noqa: FBT003
        except expat.ExpatError as error:
            raise BrokenXmlError(f"not well-formed XML: {error}", error.lineno) from error

    @property
    def line(self) -> int:
        """The line that is parsed, from 1."""
        return int(self._parser.CurrentLineNumber)

    def _refuse_doctype(self, *_: object) -> None:
        raise BrokenXmlError("a DOCTYPE is not allowed", self.line)

    def _characters(self, text: str) -> None:
        self.text += text
        if len(self.text) > MAX_TEXT:
            raise BrokenXmlError(f"a text of more than {MAX_TEXT} characters", self.line)

    def _start(self, name: str, values: dict[str, str]) -> None:
        self.text = ""
        self.path.append(name)
        if len(self.path) > MAX_DEPTH:
            raise BrokenXmlError(f"more than {MAX_DEPTH} elements inside each other", self.line)
        self.start(name, values)

    def _end(self, name: str) -> None:
        self.path.pop()
        self.end(name, self.path[-1] if self.path else "")


def number(name: str, text: str | None, line: int) -> float:
    """A number of pixels or degrees.

    Raises:
        BrokenXmlError: it is none; the message has its name and text.
    """
    value = _float(text)
    # Also refuses what is not finite.
    if not abs(value) < MAX_PIXELS:
        raise BrokenXmlError(f"{name} {(text or '')[:40]!r} is no number", line)
    return value


def whole_number(name: str, text: str | None, line: int, below: int = MAX_PIXELS) -> int:
    """A whole number from 0.

    Raises:
        BrokenXmlError: it is none; the message has its name and text.
    """
    value = _float(text)
    if not 0 <= value < below or value != int(value):
        raise BrokenXmlError(f"{name} {(text or '')[:40]!r} is no whole number", line)
    return int(value)


def _float(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return float("nan")
