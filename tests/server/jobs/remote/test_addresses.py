"""No address of a client leads the server to where it must not go. All attempts end on loopback."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

import anyio
import pytest
from web_host import Page, WebHost, web_host

from selsa_server.jobs.remote.addresses import AddressRules, RemoteAddress, RemoteError
from selsa_server.jobs.remote.connection import RemoteHosts, TransferError

LOOPBACK = (ip_network("127.0.0.1/32"),)


@pytest.fixture
def secret() -> Iterator[WebHost]:
    """What must not be reached."""
    with web_host() as host:
        host.pages["/"] = Page(b"secret")
        yield host
        assert host.seen == []


# {port} is that of a server on loopback, which would answer.
ATTEMPTS = {
    "loopback": "http://127.0.0.1:{port}/",
    "loopback of another number": "http://127.8.9.10:{port}/",
    "the short form of loopback": "http://127.1:{port}/",
    "one decimal number": "http://2130706433:{port}/",
    "one hexadecimal number": "http://0x7f000001:{port}/",
    "octal numbers": "http://0177.0.0.1:{port}/",
    "hexadecimal parts": "http://0x7f.0.0.1:{port}/",
    "leading zeros": "http://127.000.000.001:{port}/",
    "a dot at the end": "http://127.0.0.1.:{port}/",
    "the unspecified address": "http://0.0.0.0:{port}/",
    "zero": "http://0:{port}/",
    "IPv6 loopback": "http://[::1]:{port}/",
    "IPv6 unspecified": "http://[::]:{port}/",
    "IPv4 in IPv6": "http://[::ffff:127.0.0.1]:{port}/",
    "IPv4 in IPv6, hexadecimal": "http://[::ffff:7f00:1]:{port}/",
    "IPv4-compatible IPv6": "http://[::127.0.0.1]:{port}/",
    "NAT64": "http://[64:ff9b::7f00:1]:{port}/",
    "6to4": "http://[2002:7f00:1::]:{port}/",
    "Teredo": "http://[2001:0:7f00:1::]:{port}/",
    "a zone": "http://[fe80::1%25lo]:{port}/",
    "link-local, metadata of clouds": "http://169.254.169.254/latest/meta-data/",
    "metadata of clouds in IPv6": "http://[fd00:ec2::254]/",
    "the host of an Azure machine": "http://168.63.129.16/",
    "private 10": "http://10.0.0.1/",
    "private 172": "http://172.16.0.1/",
    "private 192": "http://192.168.1.1/",
    "shared by a provider": "http://100.100.100.200/",
    "multicast": "http://224.0.0.1/",
    "broadcast": "http://255.255.255.255/",
    "a user name": "http://videos.example@127.0.0.1:{port}/",
    "a user name and password": "http://videos.example:80@127.0.0.1:{port}/",
    "a user name behind an escape": "http://videos.example%40127.0.0.1:{port}/",
    "a backslash": "http://127.0.0.1:{port}\\@videos.example/",
    "a fragment that hides a host": "http://127.0.0.1:{port}#@videos.example/",
    "a space": "http://127.0.0.1 videos.example/",
    "a tab, which parsers drop": "ht\ttp://127.0.0.1:{port}/",
    "a line break, for another header": "http://videos.example/\r\nHost: 127.0.0.1",
    "full-width digits": "http://\uff11\uff12\uff17.0.0.1:{port}/",
    "circled digits": "http://①②⑦.0.0.1:{port}/",
    "an escaped host": "http://%31%32%37.0.0.1:{port}/",
    "no host": "http:///",
    "no scheme": "//127.0.0.1:{port}/",
    "a file": "file:///etc/passwd",
    "gopher": "gopher://127.0.0.1:{port}/",
    "ftp": "ftp://127.0.0.1:{port}/",
    "data": "data:video/mp4,x",
    "a scheme of FFmpeg": "concat:http://127.0.0.1:{port}/",
    "port 0": "http://videos.example:0/",
    "a port that is too large": "http://videos.example:65616/",
    "a port that is no number": "http://videos.example:80a/",
    "a port of another service": "http://videos.example:22/",
    "another host": "http://other.test/",
    "a host below the name of another": "http://videos.example.other.test/",
    "a name that ends like an allowed one": "http://evilvideos.example/",
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_an_address_that_breaks_a_rule_is_refused_before_any_connection(
    attempt: str, secret: WebHost
) -> None:
    # With `*` allowed, the addresses are what refuses; the last attempts need names.
    everything = AddressRules(["*", f"*:{secret.port}"])
    named = AddressRules(["videos.example", "*.videos.example"])
    rules = (
        [named] if "other.test" in attempt or "evil" in attempt or ":22" in attempt else [everything, named]
    )
    for rule in rules:
        with pytest.raises(RemoteError) as refused:
            rule.parse(attempt.format(port=secret.port))
        assert refused.value.code == "url_not_allowed"
        assert "This url is not used: " in refused.value.detail


def answers(*rounds: Sequence[str]) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    """A resolver that gives another answer each time, the last one forever."""
    left = list(rounds)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


def get(hosts: RemoteHosts, url: str) -> bytes:
    async def run() -> bytes:
        async with (
            hosts.connect() as connection,
            connection.get(hosts.rules.parse(url), 5) as answer,
        ):
            return b"".join([chunk async for chunk in answer.body])

    return anyio.run(run)


@pytest.mark.parametrize(
    "resolved",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["fe80::1%lo"],
        ["169.254.169.254"],
        ["93.184.215.14", "127.0.0.1"],
        ["2002:7f00:1::"],
    ],
    ids=lambda found: "+".join(found),
)
def test_a_name_that_leads_to_an_address_inside_is_refused(resolved: list[str], secret: WebHost) -> None:
    rules = AddressRules([f"videos.example:{secret.port}"])
    with pytest.raises(RemoteError, match="not public") as refused:
        get(RemoteHosts(rules, answers(resolved)), secret.url("/", "videos.example"))
    assert resolved[-1] not in refused.value.detail, "addresses of names inside are not told"


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(secret: WebHost) -> None:
    """A second answer of the name, as DNS rebinding gives it, is never asked for."""
    with web_host("127.0.0.2", secret.port) as allowed:
        allowed.pages["/"] = Page(b"video")
        rules = AddressRules([f"videos.example:{secret.port}"], [ip_network("127.0.0.2/32")])
        hosts = RemoteHosts(rules, answers(["127.0.0.2"], ["127.0.0.1"]))
        assert get(hosts, secret.url("/", "videos.example")) == b"video"
        assert allowed.seen[0].headers["Host"] == f"videos.example:{secret.port}"
        with pytest.raises(RemoteError, match="not public"):
            get(hosts, secret.url("/", "videos.example"))


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{port}/",
        "//127.0.0.1:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://name-inside.example:{port}/",
        "file:///etc/passwd",
        "http://user@front.example:{front}/video",
    ],
)
def test_a_redirect_to_what_is_not_allowed_is_not_followed(location: str, secret: WebHost) -> None:
    with web_host("127.0.0.2") as front:
        target = location.format(port=secret.port, front=front.port)
        front.pages["/"] = Page(statuses=[302], headers={"Location": target})
        allowed = [f"*:{secret.port}", f"front.example:{front.port}"]

        async def resolve(host: str, port: int) -> list[str]:
            return ["127.0.0.2" if host == "front.example" else "127.0.0.1"]

        hosts = RemoteHosts(AddressRules(allowed, [ip_network("127.0.0.2/32")]), resolve)
        with pytest.raises(RemoteError) as refused:
            get(hosts, front.url("/", "front.example"))
        assert refused.value.code == "url_not_allowed"
        assert front.paths() == ["/"]


def test_a_redirect_between_allowed_addresses_is_followed_without_end_only_so_often() -> None:
    with web_host() as host:
        host.pages["/"] = Page(statuses=[307], headers={"Location": "/there?signature=1"})
        host.pages["/there"] = Page(b"video")
        host.pages["/loop"] = Page(statuses=[302] * 100, headers={"Location": "/loop"})
        hosts = RemoteHosts(AddressRules([f"127.0.0.1:{host.port}"], LOOPBACK))
        assert get(hosts, host.url("/")) == b"video"
        assert host.paths() == ["/", "/there?signature=1"]
        with pytest.raises(RemoteError, match="more than 5 redirects"):
            get(hosts, host.url("/loop"))


def test_no_credential_proxy_or_cookie_of_this_machine_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with web_host() as host:
        host.pages["/"] = Page(b"x", statuses=[302], headers={"Location": "/next", "Set-Cookie": "a=b"})
        host.pages["/next"] = Page(b"video")
        hosts = RemoteHosts(AddressRules([f"127.0.0.1:{host.port}"], LOOPBACK))
        assert get(hosts, host.url("/")) == b"video"
        assert {name for each in host.seen for name in each.headers} == {
            "Host",
            "User-Agent",
            "Accept-Encoding",
        }


def test_from_https_no_redirect_leads_to_http() -> None:
    rules = AddressRules(["*"])
    with pytest.raises(RemoteError, match="from https to http"):
        rules.follow(rules.parse("https://videos.example/"), "http://videos.example/")


@pytest.mark.parametrize(
    ("url", "patterns", "rule"),
    [
        ("https://a.example/", [], "remote_hosts"),
        ("https://a.example/", ["b.example"], "a.example is not in the server's remote_hosts"),
        ("https://a.example:8443/", ["a.example"], "port 8443"),
        ("https://a.example/", ["a.example:8443"], "port 443"),
        ("https://u:p@a.example/", ["*"], "user name or password"),
        ("ftp://a.example/", ["*"], "scheme is 'ftp'"),
        ("https://127.1/", ["*"], "four decimal numbers"),
        ("https://10.0.0.1/", ["*"], "not public"),
        ("https://a.example/" + "x" * 5000, ["*"], "4096 characters"),
        ("https://ä.example/", ["*"], "punycode"),
    ],
)
def test_a_refusal_names_the_rule(url: str, patterns: list[str], rule: str) -> None:
    with pytest.raises(RemoteError) as refused:
        AddressRules(patterns).parse(url)
    assert rule in refused.value.detail


@pytest.mark.parametrize(
    ("url", "patterns"),
    [
        ("https://A.Example/x?y=z#fragment", ["a.example"]),
        ("http://b.a.example/", ["*.a.example"]),
        ("https://a.example:8443/", ["a.example:8443"]),
        ("https://93.184.215.14/", ["93.184.215.14"]),
        ("https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/", ["*"]),
        ("https://bucket.s3.example/v.mp4?X-Amz-Signature=0%2F1&X-Amz-Expires=60", ["*"]),
    ],
)
def test_what_the_rules_allow_is_taken(url: str, patterns: list[str]) -> None:
    found = AddressRules(patterns).parse(url)
    assert isinstance(found, RemoteAddress)
    assert "Signature" not in str(found) and "fragment" not in found.url
    assert AddressRules(patterns).parse(found.url) == found


def test_networks_inside_are_allowed_one_by_one() -> None:
    rules = AddressRules(["*"], [ip_network("10.1.0.0/16")])
    rules.check(ip_address("10.1.2.3"), "x")
    rules.check(ip_address("::ffff:10.1.2.3"), "x")
    for other in ("10.2.0.1", "127.0.0.1", "::1"):
        with pytest.raises(RemoteError):
            rules.check(ip_address(other), "x")


def test_a_name_that_is_not_known_and_a_port_without_a_server_may_be_tried_again() -> None:
    async def unknown(host: str, port: int) -> Any:
        raise OSError("no such name")

    with pytest.raises(TransferError, match="not known"):
        get(RemoteHosts(AddressRules(["*"]), unknown), "http://videos.example/")
    with pytest.raises(TransferError):
        get(RemoteHosts(AddressRules(["*:1"], LOOPBACK)), "http://127.0.0.1:1/")
