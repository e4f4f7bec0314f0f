"""`selsa detect`: detect on videos with a server or on this machine."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError

from selsa_client.cli.detect_plan import DetectPlan
from selsa_client.cli.exit_codes import USAGE, failures_end_in_exit
from selsa_client.cli.inputs import VideoInput, find_inputs
from selsa_client.cli.local import LocalPipeline
from selsa_client.cli.options import (
    ApiKeyOption,
    explain_invalid,
    params_from_options,
    with_detect_options,
)
from selsa_client.cli.progress import Progress, terminal_progress
from selsa_client.cli.render import Drawn
from selsa_client.cli.results import Report, ResultOptions, Results, named, plan_results
from selsa_client.formats import TRACKED, FormatName
from selsa_client.http.protocol import DEFAULT_SERVER, check_api_key
from selsa_client.wire.records import StreamRecord
from selsa_server.schema.detect import DetectParams, SummaryRecord

InputArguments = Annotated[
    list[str],
    typer.Argument(
        help="Files, folders, patterns such as 'clips/*.mp4', - (stdin), http(s) and rtsp addresses, "
        "camera:0 or /dev/video0.",
        metavar="INPUT",
        show_default=False,
    ),
]
ServerOption = Annotated[
    str, typer.Option(envvar="SELSA_SERVER", metavar="URL", help="Address of the server.")
]
LiveFlag = Annotated[
    bool,
    typer.Option("--live", help="Stream the video; each frame is detected with earlier frames only."),
]
DropOption = Annotated[
    Literal["never", "oldest"],
    typer.Option(help="Whether a live stream drops the oldest waiting frames if they arrive too fast."),
]
DownloadsFlag = Annotated[
    bool,
    typer.Option(
        "--server-downloads",
        help="The server downloads http(s) inputs itself, as jobs. It must allow their hosts.",
    ),
]
LocalFlag = Annotated[bool, typer.Option("--local", help="Detect on this machine, without a server.")]
BundleOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Bundle for --local.  [default: SELSA_BUNDLE, or the packaged one]",
    ),
]
ProviderOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Provider for --local: auto, tensorrt, cuda, openvino or cpu.  [default: auto]"
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Precision for --local: auto, fp32, bf16, fp16 or int8.  [default: auto]"
    ),
]
SizeOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="PIXELS",
        help="Long side of frames for --local, at most the bundle's: smaller is faster and finds less.  "
        "[default: the bundle's]",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write a file instead of stdout. Its extension selects the format: .json, .ndjson, .csv, "
        ".parquet, .txt (MOT), .coco.json, .ytvis.json, .xml (CVAT) or .labelstudio.json. For several "
        "videos, a folder.",
    ),
]
FormatOption = Annotated[
    FormatName | None,
    typer.Option(
        "--format", metavar="NAME", help="Format, regardless of the file's name.  [default: ndjson]"
    ),
]
RenderOption = Annotated[
    Path | None,
    typer.Option(
        "--render",
        metavar="FILE.mp4",
        help="Also draw the detections on the video: those of score 0.3 and above, or of --score-threshold.",
    ),
]
SheetOption = Annotated[
    Path | None,
    typer.Option("--show-sheet", metavar="FILE.png", help="Also draw them on a few frames, side by side."),
]
RetriesOption = Annotated[
    int,
    typer.Option(
        min=0, metavar="COUNT", help="How often to retry if the server is busy or the connection breaks."
    ),
]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@with_detect_options
def detect(
    inputs: InputArguments,
    *,
    server: ServerOption = DEFAULT_SERVER,
    api_key: ApiKeyOption = None,
    live: LiveFlag = False,
    drop: DropOption = "never",
    server_downloads: DownloadsFlag = False,
    local: LocalFlag = False,
    bundle: BundleOption = None,
    provider: ProviderOption = None,
    precision: PrecisionOption = None,
    size: SizeOption = None,
    output: OutputOption = None,
    result_format: FormatOption = None,
    render: RenderOption = None,
    show_sheet: SheetOption = None,
    retries: RetriesOption = 3,
    quiet: QuietFlag = False,
    **options: str | list[str] | None,
) -> None:
    """Detect objects in videos; prints one JSON record per line while it runs.

    The first record describes the video, then there is one per frame, and the last is a summary. With several
    inputs, the field `source` names the input of each record. If stderr is a terminal, it shows progress.

    Exit codes: 0 done, 2 usage, 3 input, 4 server, 5 incomplete, 130 interrupted; for several inputs, the
    highest.
    """
    with _bad_usage_ends_in_exit():
        videos = find_inputs(inputs)
        named = {"provider": provider, "precision": precision, "size": size}
        engines = {name: str(value) for name, value in named.items() if value}
        if not local and (bundle is not None or engines):
            name = "bundle" if bundle is not None else next(iter(engines))
            raise ValueError(f"--{name} is for --local; a server has its own")
        plan = DetectPlan(
            params=params_from_options(options),
            server=server,
            api_key=None if api_key is None else check_api_key(api_key),
            retries=retries,
            live=live,
            drop=drop,
            server_downloads=server_downloads,
            local=LocalPipeline(bundle=bundle, engines=engines, say=_say) if local else None,
        )
        plan.check(videos)
        drawn: dict[Drawn, Path | None] = {"video": render, "sheet": show_sheet}
        if server_downloads and any(drawn.values()):
            raise ValueError("--render and --show-sheet need the video here; leave --server-downloads out")
        options_of_results = ResultOptions(
            output=output,
            name=result_format,
            drawn={kind: path for kind, path in drawn.items() if path is not None},
            live=live,
        )
        with failures_end_in_exit("detect"):
            planned = plan_results(options_of_results, videos)
        if any(each.name in TRACKED for each in planned):
            plan = replace(plan, params=plan.params.model_copy(update={"tracks": True}))
    # A failure does not stop the other videos; the exit code is the highest.
    report = Report(quiet=quiet, say=_say)
    codes = [
        _detect_on(video, plan, results, report, several=len(videos) > 1, quiet=quiet)
        for video, results in zip(videos, planned, strict=True)
    ]
    complete = [results for results, code in zip(planned, codes, strict=True) if code == 0]
    report.end(complete, failed=len(codes) - len(complete))
    raise typer.Exit(max(codes))


def _detect_on(
    video: VideoInput, plan: DetectPlan, results: Results, report: Report, *, several: bool, quiet: bool
) -> int:
    """Detect on one video; returns the exit code."""
    progress = _progress(
        plan.params, video.name if several else "", quiet=quiet, to_stdout=results.path is None
    )
    try:
        with (
            failures_end_in_exit(f"detect: {video.name}" if several else "detect"),
            results.opened(video, plan.params) as (source, write),
            progress as shown,
            closing(plan.records(source, shown)) as found,
            closing(named(found, video.name) if several else found) as records,
        ):
            for record in records:
                write(record)
                shown.record(record)
                report.record(record)
                _note_missing_frames(record)
    except typer.Exit as failed:
        return failed.exit_code
    return 0


def _progress(
    params: DetectParams, label: str, *, quiet: bool, to_stdout: bool
) -> AbstractContextManager[Progress]:
    if quiet or not sys.stderr.isatty():
        return nullcontext(Progress())
    return terminal_progress(params, label, show_frames=not (to_stdout and sys.stdout.isatty()))


def _note_missing_frames(record: StreamRecord) -> None:
    if not isinstance(record, SummaryRecord) or record.complete:
        return
    if record.corrupt:
        _say(f"{record.corrupt} frames could not be decoded and have no record")
    else:
        _say("frames arrived too fast; dropped frames have no record")


def _say(text: str) -> None:
    sys.stderr.write(f"selsa detect: {text}\n")


@contextmanager
def _bad_usage_ends_in_exit() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        line = explain_invalid(error)
    except ValueError as error:
        line = str(error)
    else:
        return
    _say(line)
    raise typer.Exit(USAGE)
