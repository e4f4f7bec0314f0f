"""Messages between the server and one decoder: each has a head (JSON, or empty) and a body of bytes."""

import socket
import struct
from collections.abc import Callable
from typing import Final

LENGTHS: Final = struct.Struct("!II")
PIECE: Final = 1 << 20


class Channel:
    """One end of a connected stream socket, which this object owns."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def fileno(self) -> int:
        """The file descriptor, for `poll`."""
        return self._socket.fileno()

    def send(self, head: bytes, body: bytes = b"") -> None:
        """Send one message.

        Raises:
            OSError: the other end has closed, or does not read.
        """
        self._socket.sendall(LENGTHS.pack(len(head), len(body)) + head)
        if body:
            self._socket.sendall(body)

    def receive(self, most: int, wait: Callable[[], None] = lambda: None) -> tuple[bytes, bytes] | None:
        """The next message; None after the other end has closed.

        Args:
            most: bytes that a message may have.
            wait: called before every read.

        Raises:
            OSError: the connection is broken, perhaps inside a message.
            ValueError: the message is longer.
        """
        lengths = self._read(LENGTHS.size, wait)
        if not lengths:
            return None
        head, body = LENGTHS.unpack(lengths)
        if head + body > most:
            raise ValueError(f"a message has {head + body} bytes, {most} are allowed")
        data = self._read(head + body, wait)
        if len(data) < head + body:
            raise ConnectionResetError("a message is cut off")
        return data[:head], data[head:]

    def end(self) -> None:
        """Send no more messages."""
        self._shut(socket.SHUT_WR)

    def abort(self) -> None:
        """Stop both directions; a thread that waits here is woken."""
        self._shut(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _shut(self, how: int) -> None:
        try:
            self._socket.shutdown(how)
        except OSError:
            return  # the other end is gone already

    def _read(self, count: int, wait: Callable[[], None]) -> bytes:
        """`count` bytes, or none if the other end has closed before the first of them."""
        data = bytearray()
        while len(data) < count:
            wait()
            piece = self._socket.recv(min(PIECE, count - len(data)))
            if not piece:
                if data:
                    raise ConnectionResetError("a message is cut off")
                break
            data += piece
        return bytes(data)
