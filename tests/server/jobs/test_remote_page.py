"""docs/remote.md is correct: its lines run, on hosts on loopback."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_engines import FakeEngines
from live_server import live_server, wait_until
from media import write_video
from web_host import Page, WebHost, web_host

from selsa_server.settings import ServerSettings

PAGE = (Path(__file__).parents[3] / "docs" / "remote.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SELSA = Path(sys.executable).parent / "selsa"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[WebHost]:
    hls = tmp_path / "hls"
    hls.mkdir()
    write_video(tmp_path / "street.mp4", 6, codec="mpeg4")
    write_video(hls / "list.m3u8", 6, container_format="hls", container_options={"hls_playlist_type": "vod"})
    with web_host() as host:
        host.pages["/selsa"] = Page()
        for path in (tmp_path / "street.mp4", *hls.iterdir()):
            host.pages[f"/{path.relative_to(tmp_path)}"] = Page(path.read_bytes())
        yield host


def shell(line: str, folder: Path, host: WebHost, server: str = "") -> str:
    line = on_loopback(line, host, server)
    line = re.sub(r"^selsa ", f"{SELSA} ", line)
    ran = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def on_loopback(text: str, host: WebHost, server: str) -> str:
    text = re.sub(r"https://(models|videos|hooks)\.example", host.url("").rstrip("/"), text)
    return text.replace("http://127.0.0.1:8000", server)


def test_a_bundle_is_packed_and_pulled_as_the_page_says(
    host: WebHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELSA_CACHE", str(tmp_path / "cache"))
    packing, pulling = (line for line in LINES if line.startswith(("selsa pack", "selsa pull")))
    shell(packing, tmp_path, host)
    host.pages["/synthetic.selsa"] = Page((tmp_path / "synthetic.selsa").read_bytes())
    folder = Path(shell(pulling, tmp_path, host).strip())
    assert (folder / "manifest.json").is_file()


def test_videos_and_webhooks_work_as_the_page_says(host: WebHost, tmp_path: Path) -> None:
    (secret_line,) = (line for line in LINES if line.startswith("openssl"))
    shell(secret_line, tmp_path, host)
    secrets = tmp_path / "webhook-secrets.txt"
    settings = ServerSettings(
        spool_dir=tmp_path,
        remote_hosts=f"127.0.0.1:{host.port}",
        remote_networks="127.0.0.1/32",
        webhook_secrets_file=secrets,
    )
    posts = [line for line in LINES if line.startswith("curl") and "/v1/jobs/JOB" not in line]
    jobs: list[dict[str, Any]] = []
    with live_server(FakeEngines(), settings) as address:
        server = f"http://{address}"
        for line in posts:
            jobs.append(json.loads(shell(line, tmp_path, host, server)))
        for job in jobs:
            wait_until(
                lambda job=job: (
                    httpx.get(f"{server}/v1/jobs/{job['id']}").json()["state"]  # type: ignore[misc]
                    in ("done", "failed")
                )
            )
        state, results = (
            shell(line.replace("JOB", jobs[0]["id"]), tmp_path, host, server)
            for line in LINES
            if "/v1/jobs/JOB" in line
        )
        assert json.loads(state)["state"] == "done"
        assert len(results.splitlines()) == 2 + 3
        wait_until(lambda: host.paths().count("/selsa") == 2)
    assert len(posts) == 4
    names: dict[str, Any] = {}
    exec(PROGRAMS[1], names)
    messages = [each for each in host.seen if each.path == "/selsa"]
    secret = secrets.read_text().strip()
    for message in messages:
        headers = {name.lower(): value for name, value in message.headers.items()}
        assert names["is_genuine"](headers, message.body, secret)
        assert not names["is_genuine"](headers, message.body + b" ", secret)
        assert not names["is_genuine"](headers | {"webhook-timestamp": "1"}, message.body, secret)
    assert [json.loads(each.body)["type"] for each in messages] == ["job.done"] * 2
    assert sum(json.loads(each.body)["data"]["summary"] is not None for each in messages) == 1


def test_the_command_and_the_sdk_let_the_server_download(host: WebHost, tmp_path: Path) -> None:
    (line,) = (line for line in LINES if line.startswith("selsa detect"))
    settings = ServerSettings(
        spool_dir=tmp_path, remote_hosts=f"127.0.0.1:{host.port}", remote_networks="127.0.0.1/32"
    )
    names: dict[str, Any] = {}
    with live_server(FakeEngines(), settings) as address:
        server = f"http://{address}"
        shell(line, tmp_path, host, server)
        left = httpx.get(f"{server}/v1/jobs").json()["jobs"]
        exec(on_loopback(PROGRAMS[0], host, server), names)
        refused = subprocess.run(
            [SELSA, "detect", "--server-downloads", "https://other.example/a.mp4", "--server", server],
            capture_output=True,
            text=True,
            check=False,
        )
    assert (tmp_path / "street.csv").stat().st_size > 0
    assert left == [], "the command deletes its job"
    assert names["found"] == [0, 2, 4]
    assert refused.returncode == 4
    assert "other.example" in refused.stderr


def test_the_serve_line_names_options_that_there_are() -> None:
    (line,) = (line for line in LINES if line.startswith("selsa serve"))
    options = {option[2:].replace("-", "_") for option in re.findall(r"--[a-z-]+", line)}
    assert options <= set(ServerSettings.model_fields)
