"""The server's subcommands. Importing this module is light: what is heavy is imported when it is used."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    import socket

    from selsa_bundle.load import LoadedBundle
    from selsa_server.settings import ServerSettings

__all__ = ["serve"]

EXIT_CANNOT_SERVE: Final = 3


def serve(
    bundle: Annotated[Path | None, typer.Option(help="Folder of the bundle to serve.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one [8000].")] = None,
    spool_dir: Annotated[Path | None, typer.Option(help="Folder for uploads while they are read.")] = None,
    max_upload_bytes: Annotated[int | None, typer.Option(help="Largest upload [2 GiB].")] = None,
    max_concurrent: Annotated[int | None, typer.Option(help="Videos detected on at once [1].")] = None,
    max_queued: Annotated[int | None, typer.Option(help="Further requests that may wait [8].")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of an engine [one per core].")] = None,
    batch: Annotated[int | None, typer.Option(help="Frames in one engine call at most [4].")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error [info].")] = None,
) -> None:
    """Serve a bundle over HTTP. Options are environment variables too: SELSA_BUNDLE, SELSA_PORT, ..."""
    given = {key: value for key, value in locals().items() if value is not None}
    settings = _settings(given)
    loaded = _load(settings)
    _run(loaded, settings)


def _refuse(reason: str) -> typer.Exit:
    typer.echo(f"selsa serve: {reason}", err=True)
    return typer.Exit(EXIT_CANNOT_SERVE)


def _settings(given: dict[str, Any]) -> "ServerSettings":
    from pydantic import ValidationError

    from selsa_server.settings import ServerSettings

    try:
        settings = ServerSettings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise _refuse(f"{name} is {first.get('input')!r}: {first['msg']}") from error
    if not settings.spool_dir.is_dir():
        raise _refuse(f"spool_dir {settings.spool_dir} is no folder; make it or name another one")
    return settings


def _load(settings: "ServerSettings") -> "LoadedBundle":
    from selsa_bundle.errors import BundleError
    from selsa_bundle.load import load_engines
    from selsa_bundle.runtime_onnx import RuntimeOptions

    try:
        return load_engines(settings.bundle, RuntimeOptions(threads=settings.threads))
    except BundleError as error:
        raise _refuse(" ".join(str(error).split())) from error


def _run(loaded: "LoadedBundle", settings: "ServerSettings") -> None:
    import uvicorn

    from selsa_server.app import build_app
    from selsa_server.container import VideoLimits
    from selsa_server.log import configure_log
    from selsa_server.pipeline import DetectionPipeline, PipelineOptions

    configure_log(settings.log_level)
    limits = VideoLimits(
        max_duration=settings.max_duration, max_frames=settings.max_frames, max_pixels=settings.max_pixels
    )
    options = PipelineOptions(limits=limits, batch=settings.batch, prefetch=settings.prefetch)
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    app = build_app(
        DetectionPipeline(loaded, options),
        settings,
        on_ready=lambda: typer.echo(f"Serving {loaded.manifest.name} at {address}"),
    )
    config = uvicorn.Config(app, log_config=None, access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


def _listen(settings: "ServerSettings") -> "socket.socket":
    import socket

    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise _refuse(f"cannot listen on {settings.host} port {settings.port}: {reason}") from error
