"""The addresses that clients may name: parsed once, and checked again when their names become numbers."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urljoin, urlsplit

from selsa_server.errors import DetectError

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

MAX_URL_LENGTH: Final = 4096
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
# `ipaddress` calls some of these global: they lead to addresses of IPv4, to the host itself, or nowhere.
_REFUSED: Final = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        # Services of the cloud that answer each of its machines: Azure's has a public address.
        "168.63.129.16/32",
        "2001::/23",
        "2002::/16",
        "3fff::/20",
    )
)
_GLOBAL_IPV6: Final = IPv6Network("2000::/3")


class RemoteError(DetectError):
    """An address that a client named may not be used, or it did not give what it should."""

    codes = frozenset({"url_not_allowed", "download_failed", "download_timeout", "unsupported_playlist"})


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """An address that the rules allow.

    Attributes:
        scheme: http or https.
        host: name in lower case, or an IP address without brackets.
        port: TCP port.
        path: begins with /; may be secret only in what follows it.
        query: with its question mark, or empty; may hold a signature, so it is never shown.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def authority(self) -> str:
        """Host, and port unless it is the scheme's, as in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{self}{self.query}"

    def __str__(self) -> str:
        """The address without its query, for messages and states."""
        return f"{self.scheme}://{self.authority}{self.path}"


class AddressRules:
    """The hosts, ports and networks that may be used.

    Args:
        hosts: `NAME`, `*.NAME` for all names below, or `*`, each with `:PORT` or for the ports of http and
            https; none: no address is allowed.
        networks: networks such as 10.1.0.0/16 that are allowed besides public addresses.
    """

    def __init__(self, hosts: Sequence[str], networks: Collection[IPNetwork] = ()) -> None:
        self._hosts = hosts
        self._networks = networks

    def parse(self, url: str, parameter: str = "url") -> RemoteAddress:
        """The address of a URL; the only place where one is taken apart.

        Args:
            url: absolute.
            parameter: what the client calls it.

        Raises:
            RemoteError: it breaks a rule, which the message names.
        """
        try:
            return self._parse(url)
        except ValueError as broken:
            raise RemoteError(
                "url_not_allowed",
                f"This {parameter} is not used: {broken}.",
                parameter=parameter,
                allowed=self._allowed(),
            ) from broken

    def follow(self, base: RemoteAddress, reference: str) -> RemoteAddress:
        """The address of a redirect or of a playlist's entry, by the same rules.

        Raises:
            RemoteError: it breaks a rule, or leads from https to http.
        """
        found = self.parse(urljoin(base.url, reference[: MAX_URL_LENGTH + 1]), "redirect or playlist entry")
        if base.scheme == "https" and found.scheme == "http":
            raise RemoteError("url_not_allowed", f"{base} leads from https to http, which is not followed.")
        return found

    def check(self, address: IPAddress, host: str) -> None:
        """Check an address that a host's name was resolved to.

        Raises:
            RemoteError: it is neither public nor in an allowed network.
        """
        if not self._is_allowed(address):
            # Names inside a private network are not reported with their addresses.
            raise RemoteError(
                "url_not_allowed",
                f"{host} has an address that is not public and not in remote_networks.",
                allowed=self._allowed(),
            )

    def _parse(self, url: str) -> RemoteAddress:
        if not self._hosts:
            raise ValueError("this server uses no addresses of clients (its setting remote_hosts is empty)")
        if len(url) > MAX_URL_LENGTH:
            raise ValueError(f"it has more than {MAX_URL_LENGTH} characters")
        if not re.fullmatch(r"[!-~]+", url) or re.search(r'[\\"<>^`{|}]', url):
            raise ValueError(
                "it has characters that a URL must percent-encode; host names go as punycode (xn--...)"
            )
        parts = urlsplit(url)
        if parts.scheme not in DEFAULT_PORTS:
            raise ValueError(f"its scheme is {parts.scheme[:20]!r}; allowed are http and https")
        if "@" in parts.netloc:
            raise ValueError("it has a user name or password before its host")
        host, port = _host_and_port(parts.netloc)
        port = DEFAULT_PORTS[parts.scheme] if port is None else port
        literal = _literal(host)
        self._check_host(host, port)
        if literal is not None and not self._is_allowed(literal):
            raise ValueError(f"the address {literal} is not public and not in remote_networks")
        query = f"?{parts.query}" if parts.query else ""
        return RemoteAddress(
            parts.scheme, host if literal is None else str(literal), port, parts.path or "/", query
        )

    def _check_host(self, host: str, port: int) -> None:
        named = False
        for pattern in self._hosts:
            name, own_port = _split_pattern(pattern)
            if name not in ("*", host) and not (name.startswith("*.") and host.endswith(name[1:])):
                continue
            named = True
            if port in (DEFAULT_PORTS.values() if own_port is None else (own_port,)):
                return
        what = f"port {port} of its host {host[:100]}" if named else f"its host {host[:100]}"
        raise ValueError(f"{what} is not in the server's remote_hosts")

    def _is_allowed(self, address: IPAddress) -> bool:
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self._networks):
            return True
        if not address.is_global or address.is_multicast or any(address in each for each in _REFUSED):
            return False
        return isinstance(address, IPv4Address) or address in _GLOBAL_IPV6

    def _allowed(self) -> str:
        return "http and https to the hosts of the server's remote_hosts"


def _host_and_port(netloc: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?", netloc)
    if found is None:
        raise ValueError("it has no host, or one of another form than NAME, IPv4 or [IPv6], and a port")
    port = None if found[2] is None else int(found[2])
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"its port is {port}; allowed is 1 to 65535")
    host = found[1].strip("[]").lower().removesuffix(".")
    if not found[1].startswith("[") and not _HOST.fullmatch(host):
        raise ValueError(f"{host[:100]!r} is not a host name")
    return host, port


def _literal(host: str) -> IPAddress | None:
    """The IP address that a host is; None for a name.

    Raises:
        ValueError: it ends in a number and is no address of four decimal numbers. Systems read 127.1,
            0177.0.0.1, 0x7f000001 and 2130706433 as addresses, too.
    """
    if ":" in host:
        try:
            return IPv6Address(host)
        except ValueError:
            raise ValueError(f"{host[:100]!r} is not an IPv6 address") from None
    last = host.rpartition(".")[2]
    if not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", last):
        return None
    try:
        return IPv4Address(host)
    except ValueError:
        raise ValueError(f"{host[:100]!r} ends in a number and is not four decimal numbers") from None


def _split_pattern(pattern: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"(\[.+\]|[^:]+)(?::([0-9]+))?", pattern)
    assert found is not None, "the settings check it"
    return found[1].strip("[]"), None if found[2] is None else int(found[2])


def as_ip_address(host: str) -> IPAddress | None:
    """The IP address that a host of a `RemoteAddress` is; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None
