"""A real PostgreSQL and a server that speaks S3, one of each for all tests of a process."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from postgres import postgresql_programs, running_postgresql


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of a PostgreSQL server."""
    programs = postgresql_programs()
    if programs is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    with running_postgresql(programs) as address:
        yield address


@pytest.fixture
def database(postgresql: str) -> str:
    """The address of a database without tables."""
    engine = sa.create_engine(sa.make_url(postgresql).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    engine.dispose()
    return postgresql


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of moto's server, which keeps objects in memory."""
    moto = pytest.importorskip(
        "moto.server", reason="no S3 server here: pip install 'moto[s3]' flask flask-cors"
    )
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a prefix in an S3 bucket that fsspec finds by the environment, as on real machines."""
    pytest.importorskip("s3fs", reason="no driver for S3 here: pip install s3fs")
    import s3fs

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    if not files.exists("selsa-test"):
        files.mkdir("selsa-test")
    return "s3://selsa-test/jobs"
