"""The socket that a server listens on."""

import socket


def listen(host: str, port: int) -> socket.socket:
    """A socket of TCP that listens there, and knows that it is one; port 0 is a free one.

    asyncio sends what there is at once only on a connection whose socket says that it is of TCP. One that
    `socket.create_server` made does not say so, nor do those that it accepts: the second part of every answer
    would wait for the client to acknowledge the first, 40 ms on Linux.

    Raises:
        OSError: it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Made from its handle, a socket asks the system what it is.
    return socket.socket(fileno=socket.create_server((host, port), family=family).detach())
