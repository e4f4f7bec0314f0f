"""File names of videos, for the server and for the client."""

from typing import Final

# Extensions of the files that are taken from a folder. A named file is taken whatever its extension.
VIDEO_SUFFIXES: Final = frozenset(
    f".{name}"
    for names in (
        "3gp asf avi dv flv gif ivf m2ts m4v mkv mov mp4",
        "mpeg mpg mts mxf nut obu ogv ts vob webm wmv y4m",
    )
    for name in names.split()
)
