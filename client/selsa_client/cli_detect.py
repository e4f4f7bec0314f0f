"""`selsa detect`: a video in, its detections out, from a server or from this machine."""

import sys
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Annotated, cast

import typer
from pydantic import ValidationError

from selsa_client.exit_codes import USAGE, failures_end_in_exit
from selsa_client.local import detect_locally
from selsa_client.options import explain_invalid, params_from_options, with_detect_options
from selsa_client.output import check_output, open_output
from selsa_client.progress import Progress, no_progress, terminal_progress
from selsa_client.protocol import DEFAULT_SERVER, DetectOptions, check_server
from selsa_client.records import StreamRecord
from selsa_server.schema import DetectParams, SummaryRecord

__all__ = ["detect"]

VideoArgument = Annotated[Path, typer.Argument(help="The video file.", metavar="VIDEO", show_default=False)]
ServerOption = Annotated[str, typer.Option(envvar="SELSA_SERVER", help="Address of the server.")]
LocalFlag = Annotated[
    bool, typer.Option("--local", help="Detect on this machine, without a server; needs --bundle.")
]
BundleOption = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="The bundle that --local detects with.")
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write FILE.json or FILE.ndjson, not to stdout."),
]
RetriesOption = Annotated[int, typer.Option(min=0, help="How often to ask a busy server again.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@with_detect_options
def detect(
    video: VideoArgument,
    *,
    server: ServerOption = DEFAULT_SERVER,
    local: LocalFlag = False,
    bundle: BundleOption = None,
    output: OutputOption = None,
    retries: RetriesOption = 3,
    quiet: QuietFlag = False,
    **options: str | list[str] | None,
) -> None:
    """Detect objects in a video; prints one JSON record per line as frames are done.

    The first record describes the video, then comes one per frame, and last a summary. Progress goes to
    stderr when that is a terminal.
    """
    with _bad_usage_ends_in_exit():
        params = params_from_options(options)
        place = _local_bundle(local=local, bundle=bundle)
        check_server(server)
        if output is not None:
            check_output(output)
    progress = _progress(params, quiet=quiet, to_stdout=output is None)
    with failures_end_in_exit("detect"), open_output(output) as write, progress as shown:
        if place is not None:
            records = detect_locally(video, params, bundle=place)
        else:
            records = _from_server(video, params, server=server, retries=retries, shown=shown)
        with closing(records):
            for record in records:
                write(record)
                shown.record(record)
                _note_missing_frames(record)


def _from_server(
    video: Path, params: DetectParams, *, server: str, retries: int, shown: Progress
) -> Generator[StreamRecord, None, None]:
    # Detecting locally needs no HTTP; httpx is half of the client's start-up time.
    from selsa_client.client import Client

    options = cast("DetectOptions", params.model_dump(exclude_defaults=True))
    with (
        Client(server, retries=retries) as client,
        client.detect(video, on_upload=shown.upload, **options) as stream,
    ):
        yield from stream.records()


def _local_bundle(*, local: bool, bundle: Path | None) -> Path | None:
    if local and bundle is None:
        raise ValueError("--local needs a bundle: --bundle FOLDER")
    if bundle is not None and not local:
        raise ValueError("--bundle is for --local; a server has its own")
    return bundle


def _progress(params: DetectParams, *, quiet: bool, to_stdout: bool) -> AbstractContextManager[Progress]:
    if quiet or not sys.stderr.isatty():
        return no_progress()
    return terminal_progress(params, show_frames=not (to_stdout and sys.stdout.isatty()))


def _note_missing_frames(record: StreamRecord) -> None:
    if isinstance(record, SummaryRecord) and not record.complete:
        sys.stderr.write(f"selsa detect: {record.corrupt} frames could not be decoded and have no record\n")


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
    sys.stderr.write(f"selsa detect: {line}\n")
    raise typer.Exit(USAGE)
