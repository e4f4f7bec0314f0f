"""A multipart/form-data body with exactly one part, `file`, unwrapped as it streams by."""

from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from selsa_server.errors import RequestError

PART: Final = "file"


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type header names.

    Raises:
        RequestError: it names none.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:  # RFC 2046 section 5.1.1
        raise RequestError(
            "malformed_request", "The multipart Content-Type has no boundary of 1 to 70 characters."
        )
    return boundary


class MultipartFile:
    """Takes chunks of a body, returns the bytes of its one part `file`."""

    def __init__(self, boundary: bytes) -> None:
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_end": self._on_end,
            },
        )
        self._out = bytearray()
        self._header = bytearray()
        self._value = bytearray()
        self._name: str | None = None
        self._found = False
        self._ended = False

    def feed(self, chunk: bytes) -> bytes:
        """The part's bytes in this chunk of the body.

        Raises:
            RequestError: the body is no multipart body, or has another part than one `file`.
        """
        if self._ended:
            return b""  # an epilogue, to be ignored
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _malformed("The multipart body cannot be read") from error
        data = bytes(self._out)
        self._out.clear()
        return data

    def finish(self) -> None:
        """The body is over.

        Raises:
            RequestError: it ended in the middle, or has no part `file`.
        """
        if not self._ended:
            raise _malformed("The multipart body ends before its last boundary")
        if not self._found:
            raise _malformed("The multipart body has no part")

    def _on_part_begin(self) -> None:
        self._name = None

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            options = parse_options_header(bytes(self._value))[1]
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        if self._name != PART:
            raise _malformed(f"The multipart body has a part {(self._name or '')[:100]!r}")
        if self._found:
            raise _malformed(f"The multipart body has more than one part {PART!r}")
        self._found = True

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._out += data[start:end]

    def _on_end(self) -> None:
        self._ended = True


def _malformed(what: str) -> RequestError:
    return RequestError(
        "malformed_request",
        f"{what}; send exactly one part, {PART!r}, with the video, and parameters in the query.",
        parameter=PART,
        allowed=f"one part {PART!r}",
    )
