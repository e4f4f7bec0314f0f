"""Connections that send what no client library sends."""

import socket
import time

__all__ = ["connected", "read_all", "seconds_until_closed"]


def connected(address: str, data: bytes = b"") -> socket.socket:
    host, port = address.split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(data)
    return connection


def read_all(connection: socket.socket) -> bytes:
    """All bytes until the server closes."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def seconds_until_closed(connection: socket.socket) -> tuple[float, bytes]:
    started = time.monotonic()
    received = read_all(connection)
    return time.monotonic() - started, received
