"""A local server of one file that fails on demand and records its requests."""

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["CONTENT", "Server", "serving"]

CONTENT = bytes(range(256)) * 4096


@dataclass
class Server:
    """The behaviour of a local file server, and its recorded requests."""

    content: bytes = CONTENT
    etag: str | None = '"one"'
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)  # answered first, one per request
    break_after: list[int] = field(default_factory=list)  # bytes sent before the connection is cut, one each
    redirect: str | None = None
    requests: list[dict[str, str]] = field(default_factory=list)
    base: str = ""

    @property
    def asked_ranges(self) -> list[str | None]:
        return [request.get("Range") for request in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    plan: Server

    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        plan = self.plan
        plan.requests.append(dict(self.headers))
        self.close_connection = True
        if plan.statuses:
            self.answer(plan.statuses.pop(0), b"", {})
        elif plan.redirect:
            self.answer(302, b"", {"Location": plan.redirect})
        else:
            self.answer_file(plan)

    def answer_file(self, plan: Server) -> None:
        headers = {"ETag": plan.etag} if plan.etag else {}
        start = self.range_start(plan)
        if start is None:
            self.answer(200, plan.content, headers)
        elif start >= len(plan.content):
            self.answer(416, b"", {"Content-Range": f"bytes */{len(plan.content)}"})
        else:
            span = f"bytes {start}-{len(plan.content) - 1}/{len(plan.content)}"
            self.answer(206, plan.content[start:], headers | {"Content-Range": span})

    def range_start(self, plan: Server) -> int | None:
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        if not asked or not plan.ranges or (condition and condition != plan.etag):
            return None
        match = re.fullmatch(r"bytes=(\d+)-", asked)
        assert match
        return int(match[1])

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: self.plan.break_after.pop(0)] if body and self.plan.break_after else body)


@contextlib.contextmanager
def serving(plan: Server) -> Iterator[Server]:
    """Serve while the context lasts; sets `plan.base`."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Planned", (Handler,), {"plan": plan}))
    plan.base = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield plan
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
