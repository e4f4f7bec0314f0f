"""`selsa batch`. Importing this module is light: what is heavy is imported when it is used."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, NoReturn, TypeVar

import typer
from pydantic import ValidationError

from selsa_server.cli.options import option_of
from selsa_server.schema.detect import DetectParams
from selsa_server.settings import BundleSettings, ClusterSettings, ServerSettings, VideoSettings

USAGE, BAD_INPUT, FAILED = 2, 3, 4
# Enough to keep engines busy while other workers open videos or write results.
WORKERS_A_REPLICA: Final = 3
# The settings of a server that a batch has too.
SETTINGS: Final = [
    name
    for group in (BundleSettings, ClusterSettings, VideoSettings)
    for name in group.model_fields
    if name != "cluster"
]
PARAMS: Final = [name for name in DetectParams.model_fields if name != "model"]

_Function = TypeVar("_Function", bound=Callable[..., None])


def _with_options(function: _Function) -> _Function:
    own = [
        each
        for each in inspect.signature(function).parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    made = [option_of(name, DetectParams.model_fields[name]) for name in PARAMS]
    made += [option_of(name, ServerSettings.model_fields[name]) for name in SETTINGS]
    function.__signature__ = inspect.Signature([*own, *made])  # type: ignore[attr-defined]
    return function


@_with_options
def batch(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders (with those below them), patterns, fsspec addresses such as "
            "s3://BUCKET/PREFIX, or @FILE with one of these a line.",
            metavar="INPUT",
            show_default=False,
        ),
    ],
    *,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FOLDER", help="Folder or fsspec address for the results."),
    ],
    result_format: Annotated[
        Literal["ndjson", "parquet"], typer.Option("--format", help="Format of the results.")
    ] = "ndjson",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Videos at once.  [default: three for each frame engine]")
    ] = None,
    worker_cpus: Annotated[
        float, typer.Option(min=0, help="Cores of one of them: decoding, and the sequence engine.")
    ] = 0.5,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    **options: Any,
) -> None:
    """Detect on an archive of videos with Ray: one result per video, even if processes are killed.

    A second start continues with the videos that have no result. report.json beside the results lists the
    failures and their reasons.

    Exit codes: 0 every video has its result, 2 usage, 3 some videos cannot be read, 4 engines or cluster
    failed, 130 interrupted.
    """
    from selsa_bundle.errors import BundleError
    from selsa_server.batch.inputs import InputsError, find_videos
    from selsa_server.batch.order import BatchOrder, carry_out
    from selsa_server.batch.output import OutputError
    from selsa_server.cluster.connection import ClusterError
    from selsa_server.errors import ParameterError

    given = {name: value for name, value in options.items() if value not in (None, [])}
    try:
        params = DetectParams.model_validate({n: v for n, v in given.items() if n in PARAMS})
        settings = ServerSettings(cluster=True, **{n: v for n, v in given.items() if n in SETTINGS})
    except ValidationError as error:
        first = error.errors()[0]
        _refuse(f"{'.'.join(map(str, first['loc']))} {first.get('input')!r}: {first['msg']}", USAGE)
    try:
        videos = find_videos(inputs)
    except ImportError as error:
        _refuse(f"needs the cluster extra: pip install 'selsa[cluster]' ({error.name} is missing)", FAILED)
    except InputsError as error:
        _refuse(str(error), BAD_INPUT)
    order = BatchOrder(
        videos=videos,
        params=params,
        settings=settings,
        address=output,
        format=result_format,
        workers=workers or WORKERS_A_REPLICA * (settings.max_replicas or settings.replicas),
        worker_cpus=worker_cpus,
    )
    try:
        summary = carry_out(order, _say, (lambda _: None) if quiet else _say)
    except OutputError as error:
        _refuse(str(error), USAGE)
    except ParameterError as error:
        _refuse(error.detail, USAGE)
    except (BundleError, ClusterError) as error:
        _refuse(" ".join(str(error).split()), FAILED)
    _say(f"results are in {output}; run the same command again for videos that have none")
    raise typer.Exit(FAILED if summary.by_engines else BAD_INPUT if summary.failures else 0)


def _refuse(reason: str, code: int) -> NoReturn:
    _say(f"selsa batch: {reason}")
    raise typer.Exit(code)


def _say(text: str) -> None:
    typer.echo(text, err=True)
