"""Check the images of a data set: do they exist, and do they match their annotations?"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Final

from selsa_training.data.errors import ImageError
from selsa_training.data.images import image_size, verify_image
from selsa_training.data.issues import IssueKind, IssueLog
from selsa_training.data.records import DataSet

CHUNK: Final = 256


def check_images(
    data: DataSet,
    log: IssueLog,
    *,
    decode: bool,
    workers: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Check every frame's image and log its issues.

    Args:
        decode: decode every image completely; otherwise only its header is read.
        workers: threads; decoding releases the GIL.
        progress: called with (checked images, all images).
    """
    frames = iter(range(data.frame_count))
    done = 0
    with ThreadPoolExecutor(max(1, workers)) as pool:
        # In chunks, because one future per frame of ImageNet VID would take a gigabyte.
        while chunk := list(islice(frames, CHUNK)):
            problems = pool.map(partial(_problem, data, decode=decode), chunk)
            for frame, problem in zip(chunk, problems, strict=True):
                if problem is not None:
                    kind, detail = problem
                    log.add(kind, data.path(frame), None, detail)
            done += len(chunk)
            if progress:
                progress(done, data.frame_count)


def _problem(data: DataSet, frame: int, *, decode: bool) -> tuple[IssueKind, str] | None:
    path = data.path(frame)
    try:
        size = verify_image(path) if decode else image_size(path)
    except ImageError as error:
        return ("unreadable_image" if path.is_file() else "missing_image"), str(error)
    height, width = (int(side) for side in data.frame_sizes[frame])
    if height and (height, width) != size:
        return "wrong_image_size", f"is {size[1]}x{size[0]}, its annotation says {width}x{height}"
    return None
