"""The application on engines without a network."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from fake_engines import FakeEngines
from fakes import FORK_SERVER, MAX_UPLOAD, fake_pipeline
from fastapi.testclient import TestClient

from selsa_server.api.app import build_app
from selsa_server.settings import ServerSettings

# The host names of the test client and of requests that tests write by hand.
os.environ["SELSA_ALLOWED_HOSTS"] = "testserver,x"


@pytest.fixture(autouse=True, scope="session")
def quiet_log() -> None:
    """The log is made, so that a mistake in it shows, and dropped."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        logger_factory=structlog.ReturnLoggerFactory(),
    )


@pytest.fixture
def engines() -> FakeEngines:
    return FakeEngines()


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    spool = tmp_path / "spool"
    spool.mkdir()
    jobs = tmp_path / "jobs"
    return ServerSettings(spool_dir=spool, jobs_dir=jobs, max_upload_bytes=MAX_UPLOAD, upload_timeout=0.5)


@pytest.fixture
def client(engines: FakeEngines, settings: ServerSettings) -> Iterator[TestClient]:
    with TestClient(
        build_app(fake_pipeline(engines), settings, fork_server=FORK_SERVER), raise_server_exceptions=False
    ) as client:
        yield client
