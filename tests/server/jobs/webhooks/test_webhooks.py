"""Who names a webhook learns the end of the job once, signed, however often a try fails."""

import base64
import hashlib
import hmac
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_pipeline
from fastapi.testclient import TestClient
from live_server import value_of, wait_until
from media import write_video
from web_host import Page, Seen, WebHost, web_host

from selsa_server.api.app import build_app
from selsa_server.jobs.webhooks.delivery import read_secrets, signed_headers
from selsa_server.settings import ServerSettings

KEYS = [bytes(range(24)), bytes(range(32))]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return write_video(path, 6, codec="mpeg4").read_bytes()


@pytest.fixture
def host() -> Iterator[WebHost]:
    with web_host() as host:
        host.pages["/hook"] = Page()
        yield host


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    path = tmp_path / "secrets"
    lines = ["# the old one goes in May", *(f"whsec_{base64.b64encode(key).decode()}" for key in KEYS)]
    path.write_text("\n".join(lines))
    return path


@contextmanager
def running(
    settings: ServerSettings, host: WebHost, secrets: Path, seconds_per_frame: float = 0, **changes: Any
) -> Iterator[TestClient]:
    own = {
        "remote_hosts": (f"127.0.0.1:{host.port}",),
        "remote_networks": ("127.0.0.1/32",),
        "webhook_secrets_file": secrets,
        "webhook_pause": 0.05,
        "upload_timeout": 20,
    }
    changed = ServerSettings(**(settings.model_dump() | own | changes))
    engines = FakeEngines(seconds_per_frame=seconds_per_frame)
    app = build_app(fake_pipeline(engines), changed, fork_server=FORK_SERVER)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def submit(client: TestClient, body: bytes, host: WebHost, **params: Any) -> str:
    response = client.post("/v1/jobs", content=body, params={"webhook": host.url("/hook?token=t"), **params})
    assert response.status_code == 202, response.text
    return str(response.headers["location"])


def verified(seen: Seen) -> dict[str, Any]:
    """The message, by the receiver's side of Standard Webhooks."""
    assert (seen.method, seen.path) == ("POST", "/hook?token=t")
    assert abs(time.time() - int(seen.headers["webhook-timestamp"])) < 60
    signed = f"{seen.headers['webhook-id']}.{seen.headers['webhook-timestamp']}.".encode() + seen.body
    expected = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in KEYS]
    assert seen.headers["webhook-signature"].split(" ") == [f"v1,{each}" for each in expected]
    assert seen.headers["Content-Type"] == "application/json"
    found: dict[str, Any] = json.loads(seen.body)
    return found


def waiting(settings: ServerSettings) -> int:
    assert settings.jobs_dir is not None
    with sqlite3.connect(settings.jobs_dir / "jobs.sqlite3") as database:
        return int(database.execute("SELECT count(*) FROM webhook").fetchone()[0])


def test_the_end_of_a_job_is_sent_with_the_job_and_the_summary_if_asked_for(
    settings: ServerSettings, host: WebHost, secrets: Path, video: bytes
) -> None:
    with running(settings, host, secrets) as client:
        job = submit(client, video, host, webhook_summary="true")
        wait_until(lambda: len(host.seen) == 1)
        message = verified(host.seen[0])
        view = client.get(job).json()
        assert message["type"] == "job.done"
        assert message["timestamp"] == view["ended"]
        assert message["data"]["job"] == view
        assert message["data"]["summary"]["emitted"] == 6
        second = submit(client, video, host)
        assert second != job, "another message is another request"
        wait_until(lambda: len(host.seen) == 2)
        assert verified(host.seen[1])["data"]["summary"] is None
        wait_until(lambda: waiting(settings) == 0)


def test_a_failed_and_a_cancelled_job_are_told_too(
    settings: ServerSettings, host: WebHost, secrets: Path, video: bytes
) -> None:
    with running(settings, host, secrets, seconds_per_frame=0.5) as client:
        failed = submit(client, b"no video", host)
        wait_until(lambda: len(host.seen) == 1)
        cancelled = submit(client, video, host)
        assert client.delete(cancelled).status_code == 204
        wait_until(lambda: len(host.seen) == 2)
        assert client.delete(failed).status_code == 204
    messages = [verified(seen) for seen in host.seen]
    assert [message["type"] for message in messages] == ["job.failed", "job.cancelled"]
    assert messages[0]["data"]["job"]["error"]["code"] == "not_a_video"
    assert messages[0]["data"]["summary"] is None


def test_a_message_is_sent_until_it_is_accepted_with_the_same_id_and_body(
    settings: ServerSettings, host: WebHost, secrets: Path, video: bytes
) -> None:
    host.pages["/hook"].statuses = [500, 503, 404, 302]
    host.pages["/hook"].headers = {"Location": host.url("/other")}
    with running(settings, host, secrets) as client:
        job = submit(client, video, host)
        wait_until(lambda: len(host.seen) == 5 and waiting(settings) == 0)
        time.sleep(0.3)
        assert client.get(job).json()["state"] == "done"
    assert len(host.seen) == 5, "an accepted message is not sent again, and no redirect is followed"
    assert len({(seen.headers["webhook-id"], seen.body) for seen in host.seen}) == 1
    assert [verified(seen)["type"] for seen in host.seen] == ["job.done"] * 5


def test_a_receiver_that_always_answers_500_is_given_up(
    settings: ServerSettings, host: WebHost, secrets: Path, video: bytes
) -> None:
    host.pages["/hook"].statuses = [500] * 1000
    with running(settings, host, secrets, webhook_patience=3) as client:
        submit(client, video, host)
        wait_until(lambda: len(host.seen) > 0 and waiting(settings) == 0)
    assert 2 <= len(host.seen) <= 12, "the pauses grow"


def test_a_receiver_that_is_gone_for_good_is_not_asked_again(
    settings: ServerSettings, host: WebHost, secrets: Path, video: bytes
) -> None:
    host.pages["/hook"].statuses = [410]
    with running(settings, host, secrets) as client:
        submit(client, video, host)
        wait_until(lambda: len(host.seen) == 1 and waiting(settings) == 0)
    assert len(host.seen) == 1


def outcomes(client: TestClient) -> dict[str, float]:
    names = ("delivered", "bad_status", "unreachable", "not_allowed")
    counts = {name: value_of(client, f'selsa_webhooks_total{{outcome="{name}"}}') for name in names}
    counts["given up"] = value_of(client, "selsa_webhooks_given_up_total")
    return {name: count for name, count in counts.items() if count}


def test_attempts_and_messages_that_are_given_up_are_counted(
    settings: ServerSettings, host: WebHost, secrets: Path, video: bytes
) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        host.pages["/hook"].act = None

    host.pages["/hook"] = Page(act=cut, statuses=[500])
    with running(settings, host, secrets) as client:
        assert outcomes(client) == {}
        submit(client, video, host)
        wait_until(lambda: len(host.seen) == 3 and waiting(settings) == 0)
        assert outcomes(client) == {"unreachable": 1, "bad_status": 1, "delivered": 1}
        host.pages["/hook"].statuses = [410]
        submit(client, video, host, stride=2)
        wait_until(lambda: len(host.seen) == 4 and waiting(settings) == 0)
        assert outcomes(client) == {"unreachable": 1, "bad_status": 2, "delivered": 1, "given up": 1}


def test_a_host_that_resolves_to_a_network_that_is_not_allowed_is_counted(
    settings: ServerSettings, host: WebHost, secrets: Path, video: bytes
) -> None:
    own = {"remote_hosts": (f"localhost:{host.port}",), "remote_networks": (), "webhook_pause": 1000}
    with running(settings, host, secrets, **own) as client:
        job = client.post("/v1/jobs", content=video, params={"webhook": host.url("/hook", "localhost")})
        assert job.status_code == 202, job.text
        wait_until(lambda: outcomes(client) == {"not_allowed": 1})
    assert host.seen == []


def test_a_message_outlives_its_job_and_its_server(
    settings: ServerSettings, host: WebHost, secrets: Path, video: bytes
) -> None:
    host.pages["/hook"].statuses = [500]
    with running(settings, host, secrets, webhook_pause=1000) as client:
        job = submit(client, video, host)
        wait_until(lambda: len(host.seen) == 1)
        assert client.delete(job).status_code == 204
    with running(settings, host, secrets):
        wait_until(lambda: len(host.seen) == 2 and waiting(settings) == 0)
    first, second = (verified(seen) for seen in host.seen)
    assert first == second


def test_a_receiver_that_never_answers_delays_no_other_message(
    settings: ServerSettings, host: WebHost, secrets: Path, video: bytes
) -> None:
    over = threading.Event()

    def never(handler: BaseHTTPRequestHandler) -> None:
        over.wait(60)

    host.pages["/never"] = Page(act=never)
    with running(settings, host, secrets, remote_concurrent=2) as client:
        client.post("/v1/jobs", content=video, params={"webhook": host.url("/never")})
        wait_until(lambda: "/never" in host.paths())
        submit(client, video, host)
        wait_until(lambda: "/hook?token=t" in host.paths(), 14)
        over.set()


@pytest.mark.parametrize(
    "webhook",
    [
        "http://10.0.0.1/hook",
        "http://localhost/hook",
        "file:///tmp/hook",
        "http://u:p@127.0.0.1/hook",
        "http://169.254.169.254/hook",
        "nonsense",
    ],
)
def test_a_webhook_has_the_rules_of_videos(
    webhook: str, settings: ServerSettings, host: WebHost, secrets: Path, video: bytes
) -> None:
    with running(settings, host, secrets) as client:
        response = client.post("/v1/jobs", content=video, params={"webhook": webhook})
        assert (response.status_code, response.json()["code"]) == (403, "url_not_allowed")
        assert response.json()["parameter"] == "webhook"
        assert client.get("/v1/jobs").json()["jobs"] == []


def test_without_a_secret_there_are_no_webhooks(client: TestClient, video: bytes) -> None:
    response = client.post("/v1/jobs", content=video, params={"webhook": "https://a.example/"})
    assert response.status_code == 403
    assert "webhook_secrets_file" in response.json()["detail"]
    assert client.post("/detect", content=video, params={"webhook": "https://a.example/"}).status_code == 422


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the specification's authors."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.9, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    "text", ["", "# none", "secret", "whsec_%%%", "whsec_c2hvcnQ=", "whsec_" + "A" * 200]
)
def test_a_file_without_a_usable_secret_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_text(text)
    with pytest.raises(ValueError, match="24 to 64 random bytes") as refused:
        read_secrets(path)
    assert "c2hvcnQ" not in str(refused.value), "a secret is never shown"
