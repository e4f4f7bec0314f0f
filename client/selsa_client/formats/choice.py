"""Which format a result file has: by its name, or as asked for."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from selsa_client.formats.coco import as_coco
from selsa_client.formats.encoder import Encode
from selsa_client.formats.mot import as_mot
from selsa_client.formats.records_json import as_document, as_lines
from selsa_client.formats.table import as_table
from selsa_client.formats.youtube_vis import as_youtube_vis

FormatName = Literal["json", "ndjson", "csv", "coco", "mot", "youtube-vis"]

# The ends of file names that say the format; the first is what a file is given that is not named.
FORMATS: Final[Mapping[FormatName, tuple[str, ...]]] = {
    "json": (".json",),
    "ndjson": (".ndjson", ".jsonl"),
    "csv": (".csv",),
    "coco": (".coco.json",),
    "mot": (".txt",),
    "youtube-vis": (".ytvis.json",),
}
_ENCODERS: Final[Mapping[FormatName, Callable[[], Encode]]] = {
    "json": as_document,
    "ndjson": as_lines,
    "csv": as_table,
    "coco": as_coco,
    "mot": as_mot,
    "youtube-vis": as_youtube_vis,
}


def encoder(name: FormatName) -> Encode:
    """A new encoder, for the records of one video."""
    return _ENCODERS[name]()


def default_suffix(name: FormatName) -> str:
    """How a result file of this format ends if nobody named it."""
    return FORMATS[name][0]


def format_of(path: Path) -> FormatName:
    """The format that a file's name says; of several ends that fit, the longest.

    Raises:
        ValueError: none.
    """
    lower = path.name.lower()
    ends = [(end, name) for name, all_ends in FORMATS.items() for end in all_ends]
    fitting = [(len(end), name) for end, name in ends if lower.endswith(end)]
    if not fitting:
        allowed = ", ".join(end for end, _ in ends)
        raise ValueError(
            f"{str(path)!r} is not allowed: its name must end in one of {allowed}; or give --format"
        )
    return max(fitting)[1]
