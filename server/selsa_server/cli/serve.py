"""`selsa serve`. Importing this module is light: what is heavy is imported when it is used."""

import difflib
import errno
import gc
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import typer
from pydantic import ValidationError

from selsa_server.cli.options import with_server_options
from selsa_server.settings import BundleSource, ServerSettings

if TYPE_CHECKING:
    import socket

    from selsa_bundle.runtimes.load import EnginePlan, LoadedBundle
    from selsa_server.api.app import LoadBundle
    from selsa_server.confined.fork_server import ForkServer

EXIT_CANNOT_SERVE: Final = 3
SECRET: Final = ("jobs_database",)

Bundle = TypeVar("Bundle", "LoadedBundle", "EnginePlan")


@with_server_options
def serve(**options: Any) -> None:
    """Serve a model over HTTP, with a web page for videos.

    A model is a bundle, a folder that `selsa export` writes; `selsa models` lists the packaged ones.
    Options are environment variables too: SELSA_BUNDLE, SELSA_PORT, ...
    """
    from selsa_server.malloc import return_freed_memory

    return_freed_memory()
    # NumPy's threads would spin while the rest is imported; the engines have their own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    settings = _settings({name: value for name, value in options.items() if value not in (None, [])})
    # Until the server is ready: nearly everything that the start makes stays.
    gc.disable()
    try:
        _serve(settings)
    finally:
        gc.enable()


def _serve(settings: ServerSettings) -> None:
    with closing(_fork_server(settings)) as fork_server:
        from selsa_server.telemetry.log import configure_log

        configure_log(settings.log_level, settings.log_format)
        # Before the bundles: loading them may take minutes.
        listener = _bind(settings)
        if settings.cluster:
            _serve_on_cluster(settings, fork_server, listener)
        else:
            from selsa_bundle.runtimes.starting import started
            from selsa_server.engines.bundle_loading import load_bundle, plan_bundle

            plans = _by_name(settings, partial(plan_bundle, settings=settings))
            # The engines load while the application is imported.
            loaded = started(lambda: {name: _usable(plan.load) for name, plan in plans.items()})
            _run(loaded, settings, fork_server, partial(load_bundle, settings=settings), listener)


def _fork_server(settings: ServerSettings) -> "ForkServer":
    """Started first: its imports take time and need nothing of the rest."""
    from selsa_server.confined.fork_server import ForkServer, can_fork

    fork_server = ForkServer()
    if settings.confinement != "off" and can_fork():
        fork_server.start()
    return fork_server


def _say(text: str) -> None:
    typer.echo(f"selsa serve: {text}", err=True)


def _refuse(reason: str) -> typer.Exit:
    _say(reason)
    return typer.Exit(EXIT_CANNOT_SERVE)


def _settings(given: dict[str, Any]) -> ServerSettings:
    try:
        settings = ServerSettings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        # An error about several settings is shown without their values: one is a password.
        said = f"{name} is {first.get('input')!r}: " if name and name not in SECRET else ""
        raise _refuse(f"{said}{first['msg']}") from error
    if not settings.spool_dir.is_dir():
        raise _refuse(f"spool_dir {settings.spool_dir} is not a folder; create it or set another one")
    if settings.api_keys_file is not None:
        _check_keys(settings.api_keys_file)
    if settings.webhook_secrets_file is not None:
        _check_secrets(settings.webhook_secrets_file)
    if settings.otlp_endpoint is not None:
        _check_tracing()
    if (settings.jobs_dir is not None or settings.shared) and (fault := _fault_of_jobs(settings)):
        raise _refuse(fault)
    return settings


def _check_keys(path: Path) -> None:
    from selsa_server.api.api_keys import read_api_keys

    try:
        read_api_keys(path)
    except (OSError, ValueError) as error:
        raise _refuse(f"api_keys_file: {error}") from error


def _check_secrets(path: Path) -> None:
    from selsa_server.jobs.webhooks.delivery import read_secrets

    try:
        read_secrets(path)
    except (OSError, ValueError) as error:
        raise _refuse(f"webhook_secrets_file: {error}") from error


def _check_tracing() -> None:
    from selsa_server.telemetry.tracing import require_tracing

    try:
        require_tracing()
    except ImportError as error:
        raise _refuse(str(error)) from error


def _fault_of_jobs(settings: ServerSettings) -> str | None:
    """Why jobs cannot be stored in their place; None if they can."""
    from selsa_server.jobs.files import JobsPlaceError
    from selsa_server.jobs.place import open_place

    try:
        open_place(settings).close()
    except JobsPlaceError as error:
        return str(error)
    return None


def _serve_on_cluster(settings: ServerSettings, fork_server: "ForkServer", listener: "socket.socket") -> None:
    from selsa_server.cluster.cluster import on_cluster, serving_settings
    from selsa_server.cluster.connection import ClusterError

    try:
        with on_cluster(settings, _say) as cluster:
            loaded = _by_name(settings, cluster.load)
            largest = max(each.manifest.preprocess.largest_bytes for each in loaded.values())
            serving = serving_settings(settings, largest)
            _run(lambda: loaded, serving, fork_server, cluster.load, listener)
            lost = cluster.watch.lost
    except ClusterError as error:
        raise _refuse(str(error)) from error
    if lost:
        raise _refuse("the cluster's head does not answer any more")


def _by_name(settings: ServerSettings, opened: Callable[[Path], Bundle]) -> dict[str, Bundle]:
    """The bundles by the names they are served by, the default first."""
    found: dict[str, Bundle] = {}
    for source in _sources(settings):
        bundle = _usable(partial(opened, source.path))
        name = source.name or bundle.manifest.name
        if name in found:
            raise _refuse(f"two bundles have the name {name}; give one of them another: --bundle NAME=FOLDER")
        found[name] = bundle
    return found


def _sources(settings: ServerSettings) -> tuple[BundleSource, ...]:
    from selsa_bundle.errors import BundleError
    from selsa_server.engines.bundle_choice import choose_bundles

    try:
        return choose_bundles(settings.bundle, _say)
    except BundleError as error:
        raise _refuse(str(error)) from error


def _usable(load: Callable[[], Bundle]) -> Bundle:
    from selsa_bundle.errors import BundleError

    try:
        return load()
    except BundleError as error:
        raise _refuse(" ".join(str(error).split())) from error


def _missing_confinement(settings: ServerSettings, fork_server: "ForkServer") -> dict[str, str]:
    """What decoders cannot be confined by here, with the reasons; empty if confinement is off."""
    from selsa_server.confined.check import unconfined
    from selsa_server.confined.rules import decoder_rules

    if settings.confinement == "off":
        return {}
    return unconfined(fork_server, decoder_rules(settings, settings.retry_after))


def _check_confinement(settings: ServerSettings, missing: dict[str, str]) -> None:
    import structlog

    if missing and settings.confinement == "required":
        parts = "; ".join(f"{name}: {why}" for name, why in missing.items())
        raise _refuse(f"confinement is required, and decoders cannot be confined here ({parts})")
    if missing:
        structlog.get_logger().warning("decoders are not fully confined", missing=missing)


def _run(
    loading: "Callable[[], dict[str, LoadedBundle]]",
    settings: ServerSettings,
    fork_server: "ForkServer",
    load: "LoadBundle",
    listener: "socket.socket",
) -> None:
    import structlog

    from selsa_server.api.app import pipelines
    from selsa_server.api.serving import serve_until_drained
    from selsa_server.telemetry.log import log_is_text

    # The engines load meanwhile.
    missing = _missing_confinement(settings, fork_server)
    loaded = loading()
    # Settings hold no secret: of API keys, only the file's name. People need only those that were changed.
    log = structlog.get_logger()
    log.info(
        "settings", **settings.model_dump(mode="json", exclude_defaults=log_is_text(settings.log_format))
    )
    for variable, meant in mistyped_variables(os.environ):
        log.warning("unknown environment variable", variable=variable, meant=meant)
    for name, bundle in loaded.items():
        info = bundle.engines.info
        log.info("engines", model=name, provider=info.provider, precision=info.precision, why=bundle.why)
        if (about := bundle.manifest.about) is not None:
            classes = len(bundle.manifest.classes)
            log.info(f"{about.title}: {about.description}", model=name, classes=classes)
            if about.warning:
                log.warning(about.warning, model=name)
    _check_confinement(settings, missing)
    first, *others = pipelines(loaded, settings).items()
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    serve_until_drained(
        first[1],
        settings,
        listener,
        on_ready=partial(_ready, ", ".join(loaded), address),
        on_no_jobs=lambda reason: _say(f"this server takes no jobs (/v1/jobs): {reason}"),
        others=dict(others),
        load=load,
        fork_server=fork_server,
    )


def mistyped_variables(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Variables that nearly name a setting, with that setting's variable. Others belong to the client."""
    known = {f"SELSA_{name.upper()}" for name in ServerSettings.model_fields}
    found = []
    for variable in sorted(environment):
        if variable.upper().startswith("SELSA") and variable.upper() not in known:
            nearest = difflib.get_close_matches(variable.upper(), known, 1, cutoff=0.85)
            found += [(variable[:100], name) for name in nearest]
    return found


def _ready(names: str, address: str) -> None:
    # From now on the collector skips what the start made.
    gc.freeze()
    gc.enable()
    typer.echo(f"Serving {names} at {address}")
    if sys.stderr.isatty():
        _say(f"open {address} in a browser, or run: selsa detect VIDEO --server {address}; Ctrl-C ends it")


def _bind(settings: ServerSettings) -> "socket.socket":
    from selsa_server.api.listener import bind

    try:
        return bind(settings.host, settings.port)
    except OSError as error:
        reason = error.strerror or str(error)
        taken = "; take another port with --port" if error.errno == errno.EADDRINUSE else ""
        raise _refuse(f"cannot listen on {settings.host} port {settings.port}: {reason}{taken}") from error
