"""A multipart/form-data body with known parts in a known order, unwrapped as a stream."""

from collections.abc import Sequence

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from selsa_server.errors import RequestError


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


class MultipartParts:
    """Takes chunks of a body, returns the bytes of its parts.

    Args:
        boundary: between the parts.
        names: of the parts, in their order; each is required.
    """

    def __init__(self, boundary: bytes, names: Sequence[str]) -> None:
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
        self._names = names
        self._started = 0  # parts
        self._out: list[tuple[str, bytes]] = []
        self._header = bytearray()
        self._value = bytearray()
        self._name: str | None = None
        self._ended = False

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """The bytes of parts in this chunk of the body, each with the name of its part.

        Raises:
            RequestError: the body is no multipart body, or has other parts.
        """
        if self._ended:
            return []  # an epilogue, to be ignored
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise self._malformed("The multipart body cannot be read") from error
        pieces, self._out = self._out, []
        return pieces

    def finish(self) -> None:
        """The body is over.

        Raises:
            RequestError: it ended in the middle, or lacks a part.
        """
        if not self._ended:
            raise self._malformed("The multipart body ends before its last boundary")
        if self._started < len(self._names):
            raise self._malformed(f"The multipart body has no part {self._names[self._started]!r}")

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
        expected = self._names[self._started] if self._started < len(self._names) else None
        if self._name in self._names[: self._started]:
            raise self._malformed(f"The multipart body has more than one part {self._name!r}")
        if self._name != expected:
            raise self._malformed(f"The multipart body has a part {(self._name or '')[:100]!r}")
        self._started += 1

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._out.append((self._names[self._started - 1], data[start:end]))

    def _on_end(self) -> None:
        self._ended = True

    def _malformed(self, what: str) -> RequestError:
        parts = " and ".join(map(repr, self._names))
        return RequestError(
            "malformed_request",
            f"{what}; send exactly the part {parts} with the video, and parameters in the query."
            if len(self._names) == 1
            else f"{what}; send exactly the parts {parts}, in this order.",
            parameter=self._names[-1],
            allowed=parts,
        )
