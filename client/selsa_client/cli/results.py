"""The files that `selsa detect` writes for each video: results, drawings; and records of several videos."""

import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pydantic import BaseModel

from selsa_client.cli.detect_plan import as_file
from selsa_client.cli.exit_codes import needs_extra
from selsa_client.cli.inputs import VideoInput
from selsa_client.cli.output import Write, check_place, open_output
from selsa_client.cli.render import Drawn, check_drawn, open_drawn
from selsa_client.formats import FormatName, default_suffix, format_of
from selsa_client.wire.errors import DetectionFailedError
from selsa_client.wire.frames import Frame
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import (
    DetectParams,
    ErrorRecord,
    FrameRecord,
    ModelInfo,
    SummaryRecord,
    VideoRecord,
)

# Page and drawings show detections from this score on, unless another one is requested.
LIKELY: Final = 0.3
# More files than this are counted instead of named.
MOST_NAMED: Final = 3
# Ends of drawn files in a folder; they differ from the name of the video.
_SUFFIXES: Final[dict[Drawn, str]] = {"video": "-drawn.mp4", "sheet": "-sheet.png"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOptions:
    """The options about results.

    Attributes:
        output: a file, or a folder with one file per video; None is stdout.
        name: the format; None: by the file's name; `ndjson` in a folder and on stdout.
        drawn: for each kind of drawing that is wanted, a file or a folder.
        live: whether the video is streamed, so that only a file can be read again.
    """

    output: Path | None
    name: FormatName | None
    drawn: Mapping[Drawn, Path]
    live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The files of one video.

    Attributes:
        path: the result file; None is stdout.
    """

    path: Path | None
    name: FormatName
    drawn: Mapping[Drawn, Path]

    @contextmanager
    def opened(self, video: VideoInput, params: DetectParams) -> Iterator[tuple[VideoInput, Write]]:
        """The video, as a file if it is read twice, and a function that writes its records.

        Raises:
            InputError: the video cannot be read.
            OutputError: a file cannot be written.
        """
        with ExitStack() as stack:
            writes = [stack.enter_context(open_output(self.path, self.name, _file_name(video)))]
            if self.drawn and video.problem is None:
                source = stack.enter_context(as_file(video))
                video = replace(video, kind="file", address=str(source))
                for kind, path in self.drawn.items():
                    writes.append(stack.enter_context(open_drawn(kind, source, path, params)))

            def write(record: StreamRecord) -> None:
                for each in writes:
                    each(record)

            yield video, write


def _file_name(video: VideoInput) -> str:
    """The last part of a video's path or address."""
    return PurePosixPath(video.name.partition("?")[0].replace("\\", "/")).name or video.stem


def plan_results(options: ResultOptions, videos: Sequence[VideoInput]) -> list[Results]:
    """The results of each video.

    Raises:
        ValueError: a name or a combination is invalid, or a file would overwrite a video.
        MissingExtraError: drawing needs the server extra, and Parquet the parquet extra.
    """
    _check(options, videos)
    several = len(videos) > 1
    planned = [_plan(options, video, several=several) for video in videos]
    for each in planned:
        for path in [*each.drawn.values(), *([] if each.path is None else [each.path])]:
            check_place(path)
            _check_is_no_input(path, videos)
        for kind, path in each.drawn.items():
            check_drawn(kind, path)
    if any(each.name == "parquet" for each in planned):
        with needs_extra("detect --format parquet", "selsa_parquet"):
            import_module("pyarrow.parquet")
    return planned


def _plan(options: ResultOptions, video: VideoInput, *, several: bool) -> Results:
    suffix = default_suffix(options.name or "ndjson")
    path = result_path(options.output, video, several=several, suffix=suffix)
    name = options.name or ("ndjson" if path is None else format_of(path))
    drawn: dict[Drawn, Path] = {}
    for kind, wanted in options.drawn.items():
        place = result_path(wanted, video, several=several, suffix=_SUFFIXES[kind])
        assert place is not None
        drawn[kind] = place
    return Results(path=path, name=name, drawn=drawn)


def _check(options: ResultOptions, videos: Sequence[VideoInput]) -> None:
    if options.output is None and len(videos) > 1 and options.name not in (None, "ndjson"):
        raise ValueError(f"--format {options.name} is for one video; for several, give a folder with -o")
    if options.drawn:
        for video in videos:
            if video.endless or (options.live and video.kind != "file"):
                raise ValueError(
                    f"{video.name!r} cannot be drawn: --render and --show-sheet read a video a second time, "
                    "which a live stream does not allow"
                )


def _check_is_no_input(path: Path, videos: Sequence[VideoInput]) -> None:
    if not path.exists():
        return
    for video in videos:
        source = Path(video.address)
        if video.kind == "file" and source.exists() and path.samefile(source):
            raise ValueError(f"{str(path)!r} is not allowed: it is the video itself")


def result_path(output: Path | None, video: VideoInput, *, several: bool, suffix: str) -> Path | None:
    """The result file of a video: `output`, or a file in it if that is a folder; None is stdout.

    For several videos, `output` is a folder with one file per video; it is created if it does not exist.

    Raises:
        ValueError: there are several videos, and `output` is not a folder.
    """
    if output is None:
        return None
    if several and not output.is_dir():
        if output.suffix or output.exists():
            raise ValueError(f"{str(output)!r} is one file, but there are several videos; give a folder")
        if not output.parent.is_dir():
            raise ValueError(
                f"{str(output)!r} is not allowed: the folder {str(output.parent)!r} does not exist"
            )
        output.mkdir(exist_ok=True)
    return output / f"{video.stem}{suffix}" if output.is_dir() else output


class Report:
    """What `selsa detect` says about its results: the model in words, its warning, and what was written.

    Args:
        quiet: say the warning only.
        say: called with each line.
    """

    def __init__(self, *, quiet: bool, say: Callable[[str], None]) -> None:
        self._quiet = quiet
        self._say = say
        self._model: ModelInfo | None = None
        self._frames = 0
        self._detections = 0
        self._likely = 0

    def record(self, record: StreamRecord) -> None:
        """Count a record; the model is named once."""
        if isinstance(record, VideoRecord) and record.model != self._model:
            self._model = record.model
            if record.model.title and not self._quiet:
                classes = f"{len(record.model.classes)} classes"
                self._say(
                    f"model: {record.model.title} ({classes}). {record.model.description or ''}".rstrip()
                )
            if record.model.warning:
                self._say(f"WARNING: {record.model.warning}")
        elif isinstance(record, FrameRecord | Frame):
            self._frames += 1
            self._detections += len(record.detections)
            self._likely += sum(found.score >= LIKELY for found in record.detections)

    def end(self, complete: Sequence[Results], *, failed: int) -> None:
        """Say what was written, and what to do next.

        Args:
            complete: the results of the videos that did not fail.
            failed: number of videos that failed; each has had its own message.
        """
        if self._quiet or not self._frames or not complete:
            return
        paths = [path for each in complete for path in (each.path, *each.drawn.values()) if path is not None]
        written = [str(path) for path in paths if path.exists()]
        if not written and not sys.stderr.isatty():
            return  # a program reads the records
        frames = "1 frame" if self._frames == 1 else f"{self._frames} frames"
        found = f"{self._detections} detections in {frames}, {self._likely} of score {LIKELY} and above"
        if failed:
            found += f", {failed} of {failed + len(complete)} videos failed"
        if len(written) > MOST_NAMED:
            written = [f"{len(written)} files in {Path(written[0]).parent}"]
        place = f"wrote {', '.join(written)}" if written else "nothing was saved"
        nexts = [] if written else ["-o FILE.csv saves them"]
        if self._likely < self._detections:
            nexts.append(f"--score-threshold {LIKELY} leaves out the others")
        if not any("video" in each.drawn for each in complete):
            nexts.append("--render FILE.mp4 draws them")
        self._say(f"{found}; {place}" + (f"; next: {', '.join(nexts)}" if nexts else ""))


class _NamedVideo(VideoRecord):
    source: str


class _NamedFrame(Frame):
    source: str


class _NamedSummary(SummaryRecord):
    source: str


class _NamedError(ErrorRecord):
    source: str


_NAMED: Final[dict[type[BaseModel], Any]] = {
    VideoRecord: _NamedVideo,
    FrameRecord: _NamedFrame,
    Frame: _NamedFrame,
    SummaryRecord: _NamedSummary,
}


def named(records: Generator[StreamRecord, None, None], source: str) -> Generator[StreamRecord, None, None]:
    """The records with an additional field `source`, the name of their video; closes `records` at the end.

    Raises:
        DetectionFailedError: as `records`; its record has the field, too.
    """
    with closing(records):
        try:
            for record in records:
                yield _NAMED[type(record)].model_construct(**dict(record), source=source)
        except DetectionFailedError as error:
            raise DetectionFailedError(_NamedError(**dict(error.record), source=source)) from error
