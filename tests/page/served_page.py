"""Servers for the page: the packaged bundle, or engines without a network that can be slow."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fake_engines import FakeEngines
from live_server import live_server, wait_until

from selsa_server.api.app import Lifecycle, build_app
from selsa_server.api.listener import listen
from selsa_server.api.serving import server_config
from selsa_server.engines.bundle_loading import load_bundle
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions
from selsa_server.service.draining import Drain
from selsa_server.settings import ServerSettings
from selsa_server.video.container import VideoLimits

__all__ = ["fake_server", "packaged_server", "settings_in"]


def settings_in(folder: Path, **changes: object) -> ServerSettings:
    """Settings of a server that keeps its files in a folder."""
    spool = folder / "spool"
    spool.mkdir(exist_ok=True)
    return ServerSettings(spool_dir=spool, jobs_dir=folder / "jobs").model_copy(update=changes)


@contextmanager
def fake_server(folder: Path, *, seconds_per_frame: float = 0.0, **changes: object) -> Iterator[str]:
    """The address of a server whose one detection per frame is the whole frame, as sure as it is red."""
    engines = FakeEngines(seconds_per_frame=seconds_per_frame)
    with live_server(engines, settings_in(folder, **changes)) as address:
        yield f"http://{address}"


@contextmanager
def packaged_server(folder: Path, bundle: Path) -> Iterator[str]:
    """The address of a server of a packaged bundle."""
    settings = settings_in(folder)
    limits = VideoLimits(
        max_duration=settings.max_duration, max_frames=settings.max_frames, max_pixels=settings.max_pixels
    )
    pipeline = DetectionPipeline(
        load_bundle(bundle, settings), PipelineOptions(limits=limits, batch=settings.batch)
    )
    ready = threading.Event()
    app = build_app(pipeline, settings, Lifecycle(drain=Drain(5), on_ready=ready.set))
    server = uvicorn.Server(server_config(app, settings))
    listener = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started and ready.is_set(), 60)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
