"""A live stream as it is sent."""

from collections.abc import Iterator
from dataclasses import dataclass

from selsa_client.live.protocol import TimedImage
from selsa_server.schema.stream import LiveContainer


@dataclass(frozen=True, slots=True)
class LiveFeed:
    """What is sent, and what it is."""

    container: LiveContainer
    pieces: Iterator[bytes | TimedImage]
