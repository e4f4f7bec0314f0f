"""A web server on loopback whose pages behave as a test says, and which remembers its requests."""

import contextlib
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Page", "WebHost", "web_host"]


@dataclass
class Page:
    """What is at one path.

    Attributes:
        body: its bytes; ranges of it are served.
        statuses: answered first, one per request.
        headers: more headers; None leaves a header out.
        break_after: bytes sent before the connection is cut, one number per request.
        act: answers in place of all that, by writing to the socket itself.
        pause: seconds between pieces of `piece` bytes.
    """

    body: bytes = b""
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str | None] = field(default_factory=dict)
    break_after: list[int] = field(default_factory=list)
    act: "Callable[[BaseHTTPRequestHandler], None] | None" = None
    pause: float = 0
    piece: int = 1 << 16


@dataclass
class Seen:
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class WebHost:
    """Its pages by path, and the requests for them."""

    pages: dict[str, Page] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    port: int = 0
    scheme: str = "http"

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def paths(self) -> list[str]:
        return [each.path for each in self.seen]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    host: WebHost

    def log_message(self, *args: object) -> None: ...

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.host.seen.append(Seen(self.command, self.path, dict(self.headers), body))
        page = self.host.pages.get(self.path.partition("?")[0], Page(statuses=[404]))
        if page.act is not None:
            self.close_connection = True
            page.act(self)
        elif page.statuses:
            self.answer(page, page.statuses.pop(0), b"", {})
        else:
            self.answer_file(page)

    def answer_file(self, page: Page) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if not asked or (condition and condition != page.headers.get("ETag")):
            self.answer(page, 200, page.body, {})
            return
        start, end = int(asked[1]), int(asked[2] or len(page.body) - 1)
        if start >= len(page.body):
            self.answer(page, 416, b"", {"Content-Range": f"bytes */{len(page.body)}"})
        else:
            span = {"Content-Range": f"bytes {start}-{end}/{len(page.body)}"}
            self.answer(page, 206, page.body[start : end + 1], span)

    def answer(self, page: Page, status: int, body: bytes, more: dict[str, str | None]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **page.headers, **more}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if page.break_after and body:
            body, self.close_connection = body[: page.break_after.pop(0)], True
        with contextlib.suppress(OSError):
            for start in range(0, len(body), page.piece):
                self.wfile.write(body[start : start + page.piece])
                self.wfile.flush()
                time.sleep(page.pause)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        """A client that leaves early is no failure of a test."""


@contextlib.contextmanager
def web_host(
    address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[WebHost]:
    """Serve as long as the context lasts."""
    host = WebHost(scheme="http" if tls is None else "https")
    server = _Server((address, port), type("Handler", (_Handler,), {"host": host}))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    host.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
