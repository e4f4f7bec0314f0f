"""`Accept: video/mp4`: the detections drawn on the video, in a file of the spool."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from selsa_server.drawn_video import DrawnVideo
from selsa_server.record_run import Records
from selsa_server.schema import DetectParams
from selsa_server.spool import temporary_file

__all__ = ["MP4", "write_drawn_video"]

MP4: Final = "video/mp4"


async def write_drawn_video(
    owned: AsyncExitStack,
    folder: Path,
    records: Records,
    source: Path,
    params: DetectParams,
    *,
    threads: anyio.CapacityLimiter,
    max_bytes: int,
) -> Path:
    """Draw all records on the video, into a file that `owned` deletes.

    In a file, since an MP4 begins with the index of its frames and the status depends on the last record.

    Args:
        owned: deletes the file.
        folder: where the file is made.
        records: all are taken.
        source: the video that they are of.
        params: what was asked for.
        threads: those that may work; a frame at a time is drawn in one.
        max_bytes: how large the file may become.

    Raises:
        VideoError: larger than that, or the pictures cannot be encoded.
        DetectError: as the records do.
    """
    path, _ = await owned.enter_async_context(temporary_file(folder))
    drawn = DrawnVideo(source, path, records.index, params, max_bytes=max_bytes)
    async with _open(drawn, threads):
        async for record in records:
            await anyio.to_thread.run_sync(drawn.write, record, limiter=threads)
    return path


@asynccontextmanager
async def _open(drawn: DrawnVideo, threads: anyio.CapacityLimiter) -> AsyncIterator[None]:
    """The block of a drawn video, whose ends work in a thread too."""
    await anyio.to_thread.run_sync(drawn.__enter__, limiter=threads)
    try:
        yield
    except BaseException as error:
        kind, trace = type(error), error.__traceback__
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(drawn.__exit__, kind, error, trace, limiter=threads)
        raise
    await anyio.to_thread.run_sync(drawn.__exit__, None, None, None, limiter=threads)
