"""Result files: encoders for the records of one video, by format."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from selsa_client.formats.by_record import as_coco, as_document, as_lines, as_mot, as_table
from selsa_client.formats.encoder import Encode, resolved
from selsa_client.formats.labelling import as_cvat, as_label_studio
from selsa_client.formats.parquet import as_parquet
from selsa_client.formats.youtube_vis import as_youtube_vis

__all__ = ["FORMATS", "TRACKED", "Encode", "FormatName", "default_suffix", "encoder", "format_of"]

FormatName = Literal["json", "ndjson", "csv", "parquet", "coco", "mot", "youtube-vis", "cvat", "label-studio"]

# Formats that say which object a detection is, so that they need `tracks`.
TRACKED: Final[frozenset[FormatName]] = frozenset({"mot", "youtube-vis"})

# Ends of file names by format; the first is the default.
FORMATS: Final[Mapping[FormatName, tuple[str, ...]]] = {
    "json": (".json",),
    "ndjson": (".ndjson", ".jsonl"),
    "csv": (".csv",),
    "parquet": (".parquet",),
    "coco": (".coco.json",),
    "mot": (".txt",),
    "youtube-vis": (".ytvis.json",),
    "cvat": (".xml",),
    "label-studio": (".labelstudio.json",),
}
_ENCODERS: Final[Mapping[FormatName, Callable[[], Encode]]] = {
    "json": as_document,
    "csv": as_table,
    "parquet": as_parquet,
    "coco": as_coco,
    "mot": as_mot,
    "youtube-vis": as_youtube_vis,
}


def encoder(name: FormatName, source: str = "video") -> Encode:
    """A new encoder for the records of one video; `source` is its file name, which labelling tools need.

    Raises:
        ModuleNotFoundError: `parquet` needs pyarrow, from the parquet extra.
    """
    match name:
        case "ndjson":
            # The stream itself; its summary has the aliases.
            return as_lines()
        case "cvat":
            return resolved(as_cvat(source))
        case "label-studio":
            return resolved(as_label_studio(source))
        case _:
            return resolved(_ENCODERS[name]())


def default_suffix(name: FormatName) -> str:
    """The default end of a result file in this format."""
    return FORMATS[name][0]


def format_of(path: Path) -> FormatName:
    """The format that belongs to a file's name; the longest matching end decides.

    Raises:
        ValueError: no end matches.
    """
    lower = path.name.lower()
    ends = [(end, name) for name, all_ends in FORMATS.items() for end in all_ends]
    matching = [(len(end), name) for end, name in ends if lower.endswith(end)]
    if not matching:
        allowed = ", ".join(end for end, _ in ends)
        raise ValueError(
            f"{str(path)!r} is not allowed: its name must end in one of {allowed}; or give --format"
        )
    return max(matching)[1]
