"""Refusing an upload for what its first part claims, while the client still sends the rest."""

from pathlib import Path
from typing import Final

import anyio.to_thread

from selsa_server.video.container import VideoLimits
from selsa_server.video.declared.check import check_declared, declared_tracks

# Bytes: the first look, which is then repeated whenever the file has doubled. An index in front of four
# hours of video is some ten MiB; whatever says nothing by then is read to its end.
FIRST_LOOK: Final = 1 << 20
LAST_LOOK: Final = 16 << 20


class HeaderWatch:
    """Looks at a file while it is written.

    Args:
        path: the file.
        limits: what it must not claim to be over.
    """

    def __init__(self, path: Path, limits: VideoLimits) -> None:
        self._path = path
        self._limits = limits
        self._next = FIRST_LOOK

    async def written(self, total: int) -> None:
        """`total` bytes are in the file.

        Raises:
            VideoError: its head claims more than a limit allows.
        """
        if not self._next <= total or self._next > LAST_LOOK:
            return
        while self._next <= total:
            self._next *= 2
        tracks = await anyio.to_thread.run_sync(declared_tracks, self._path)
        if tracks is not None:
            self._next = LAST_LOOK + 1
            check_declared(tracks, self._limits)
