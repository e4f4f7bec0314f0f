"""The server's socket. Importing this module is light: the socket is opened before the rest is imported."""

import os
import socket


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket that has the address and does not listen yet; port 0 takes a free one.

    asyncio sets TCP_NODELAY only if the socket's `proto` is IPPROTO_TCP; `socket.create_server` leaves it 0.
    Without TCP_NODELAY the second part of every answer waits 40 ms for the acknowledgement of the first.

    Raises:
        OSError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def listen(host: str, port: int) -> socket.socket:
    """As `bind`, and the socket listens."""
    listener = bind(host, port)
    listener.listen()
    return listener
