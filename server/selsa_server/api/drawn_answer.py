"""`Accept: video/mp4`: the detections drawn on the video, in a file of the spool."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from selsa_server.api.spool import temporary_file
from selsa_server.decoders.protocol import Decoders, Drawing
from selsa_server.schema.detect import DetectParams
from selsa_server.service.detection import Records, in_thread, is_cancelled

MP4: Final = "video/mp4"


async def write_drawn_video(
    owned: AsyncExitStack,
    folder: Path,
    records: Records,
    source: Path,
    params: DetectParams,
    *,
    decoders: Decoders,
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
        decoders: who draws.
        threads: those that may work; a frame at a time is drawn in one.
        max_bytes: how large the file may become.

    Raises:
        VideoError: larger than that, or the pictures cannot be encoded.
        DecoderError: who draws failed.
        DetectError: as the records do.
    """
    path, _ = await owned.enter_async_context(temporary_file(folder))
    drawing = decoders.draw(source, path, records.index, params, max_bytes=max_bytes, stopped=is_cancelled)
    async with _open(drawing, threads):
        async for record in records:
            await in_thread(partial(drawing.write, record), threads)
    return path


@asynccontextmanager
async def _open(drawing: Drawing, threads: anyio.CapacityLimiter) -> AsyncIterator[None]:
    """The block of a drawn video, whose ends work in a thread too."""
    await in_thread(drawing.__enter__, threads)
    try:
        yield
    except BaseException as error:
        kind, trace = type(error), error.__traceback__
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(drawing.__exit__, kind, error, trace, limiter=threads)
        raise
    await in_thread(partial(drawing.__exit__, None, None, None), threads)
