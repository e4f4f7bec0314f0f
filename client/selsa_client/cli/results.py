"""What one run of `selsa detect` leaves of each video: a file of results, what is drawn."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from selsa_client.cli.detect_plan import as_file
from selsa_client.cli.inputs import VideoInput
from selsa_client.cli.output import Write, check_place, open_output
from selsa_client.cli.render import Drawn, check_drawn, open_drawn
from selsa_client.cli.result_names import result_path
from selsa_client.formats import FormatName, default_suffix, format_of
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import DetectParams

# What a drawn file is called in a folder: never as the video beside it.
_SUFFIXES: Final[dict[Drawn, str]] = {"video": "-drawn.mp4", "sheet": "-sheet.png"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOptions:
    """What was asked for.

    Attributes:
        output: a file, or a folder for a file of each video; None is stdout.
        name: the format; None: by the file's name, in a folder and on stdout `ndjson`.
        drawn: the same as `output` for what is drawn, of those kinds that are wanted.
        live: whether the video is streamed, so that only a file can be read once more.
    """

    output: Path | None
    name: FormatName | None
    drawn: Mapping[Drawn, Path]
    live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Where everything about one video goes.

    Attributes:
        path: the result file; None is stdout.
        name: its format.
        drawn: files that are drawn.
    """

    path: Path | None
    name: FormatName
    drawn: Mapping[Drawn, Path]

    @contextmanager
    def opened(self, video: VideoInput, params: DetectParams) -> Iterator[tuple[VideoInput, Write]]:
        """The video, as a file if it is read twice, and a function that takes its records.

        Raises:
            InputError: the video cannot be read.
            OutputError: a file cannot be written.
        """
        with ExitStack() as stack:
            writes = [stack.enter_context(open_output(self.path, self.name))]
            if self.drawn and video.problem is None:
                source = stack.enter_context(as_file(video))
                video = replace(video, kind="file", address=str(source))
                for kind, path in self.drawn.items():
                    writes.append(stack.enter_context(open_drawn(kind, source, path, params)))

            def write(record: StreamRecord) -> None:
                for each in writes:
                    each(record)

            yield video, write


def plan_results(options: ResultOptions, videos: Sequence[VideoInput]) -> list[Results]:
    """The results of each video.

    Raises:
        ValueError: a name or a combination that is not allowed, or a file that would overwrite a video.
        MissingExtraError: what draws is not installed.
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
        raise ValueError(f"--format {options.name} is of one video; with several, give a folder with -o")
    if options.drawn:
        for video in videos:
            if video.endless or (options.live and video.kind != "file"):
                raise ValueError(
                    f"{video.name!r} cannot be drawn: --render and --show-sheet read a video a second time, "
                    "and a live stream is gone"
                )


def _check_is_no_input(path: Path, videos: Sequence[VideoInput]) -> None:
    if not path.exists():
        return
    for video in videos:
        source = Path(video.address)
        if video.kind == "file" and source.exists() and path.samefile(source):
            raise ValueError(f"{str(path)!r} is not allowed: it is the video itself")
