"""TLS on guarded connections: certificates are checked for the name, the checked address is used."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import anyio
import pytest
import trustme
from web_host import Page, WebHost, web_host

from selsa_server.jobs.remote.addresses import AddressRules, RemoteError
from selsa_server.jobs.remote.connection import RemoteHosts
from selsa_server.jobs.remote.download import DownloadLimits, download_video

LIMITS = DownloadLimits(max_bytes=1 << 20, window=20, rate=1, total=60, pauses=(0.01,))
BODY = b"a video" * 1000


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@contextmanager
def serving(authority: trustme.CA, *names: str) -> Iterator[tuple[WebHost, list[str | None]]]:
    """A host with a certificate for `names`, and the server names (SNI) that it is asked for."""
    asked: list[str | None] = []
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(tls)
    tls.sni_callback = lambda _socket, name, _context: asked.append(name)
    with web_host(tls=tls) as host:
        host.pages["/video"] = Page(BODY)
        yield host, asked


def download(
    host: WebHost, authority: trustme.CA, part: Path, name: str, resolved: list[str] | None = None
) -> bytes:
    rules = AddressRules([f"{name}:{host.port}"], [ip_network("127.0.0.1/32")])
    tls = ssl.create_default_context()
    authority.configure_trust(tls)

    async def resolve(asked: str, port: int) -> list[str]:
        del port
        if resolved is not None:
            resolved.append(asked)
        return ["127.0.0.1"]

    async def note(size: int) -> None:
        del size

    async def run() -> None:
        address = rules.parse(host.url("/video", name))
        await download_video(RemoteHosts(rules, resolve, tls), address, part, LIMITS, note)

    anyio.run(run)
    return part.read_bytes()


def test_the_name_is_resolved_once_and_goes_into_the_handshake_and_the_request(
    authority: trustme.CA, tmp_path: Path
) -> None:
    resolved: list[str] = []
    with serving(authority, "videos.example") as (host, asked):
        assert download(host, authority, tmp_path / "part", "videos.example", resolved) == BODY
        assert [each.headers["Host"] for each in host.seen] == [f"videos.example:{host.port}"]
    assert asked == resolved == ["videos.example"]


def test_an_address_is_checked_against_the_addresses_of_the_certificate(
    authority: trustme.CA, tmp_path: Path
) -> None:
    with serving(authority, "127.0.0.1") as (host, asked):
        assert download(host, authority, tmp_path / "part", "127.0.0.1") == BODY
    assert asked == [None], "an address is no server name"


@pytest.mark.parametrize(
    ("certificate", "name"),
    [
        ("other.example", "videos.example"),
        ("*.videos.example", "videos.example"),
        ("*.example", "a.videos.example"),
        # The address that the connection goes to is not the name that was asked for.
        ("127.0.0.1", "videos.example"),
        ("videos.example", "127.0.0.1"),
    ],
)
def test_a_certificate_for_another_name_is_refused_before_a_request_is_sent(
    authority: trustme.CA, tmp_path: Path, certificate: str, name: str
) -> None:
    with serving(authority, certificate) as (host, _), pytest.raises(RemoteError) as error:
        download(host, authority, tmp_path / "part", name)
    assert error.value.code == "download_failed"
    assert "has no valid certificate" in error.value.detail
    assert host.seen == []


def test_a_certificate_of_an_unknown_authority_is_refused(authority: trustme.CA, tmp_path: Path) -> None:
    with serving(trustme.CA(), "videos.example") as (host, _), pytest.raises(RemoteError) as error:
        download(host, authority, tmp_path / "part", "videos.example")
    assert "has no valid certificate" in error.value.detail
    assert host.seen == []
