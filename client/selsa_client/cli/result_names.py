"""Where the results of each of several videos go."""

from pathlib import Path
from typing import Final

from selsa_client.cli.inputs import VideoInput

_DEFAULT_SUFFIX: Final = ".ndjson"


def result_path(
    output: Path | None, video: VideoInput, *, several: bool, suffix: str = _DEFAULT_SUFFIX
) -> Path | None:
    """The file for a video's results: `output`, or one in it if that is a folder; None is stdout.

    Of several videos, each has a file named for it; a folder that is not there yet is made.

    Raises:
        ValueError: several videos, and `output` is no folder.
    """
    if output is None:
        return None
    if several and not output.is_dir():
        if output.suffix or output.exists():
            raise ValueError(f"{str(output)!r} is one file, and there are several videos; name a folder")
        if not output.parent.is_dir():
            raise ValueError(
                f"{str(output)!r} is not allowed: the folder {str(output.parent)!r} does not exist"
            )
        output.mkdir(exist_ok=True)
    return output / f"{video.stem}{suffix}" if output.is_dir() else output
