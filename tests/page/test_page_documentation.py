"""The documentation at `/docs` in a browser: it comes with the package, and works below a proxy's prefix."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
from browser import PATIENCE, WatchedPage
from playwright.sync_api import Browser, expect
from served_page import fake_server

PREFIX = "/selsa"


@contextmanager
def proxy(server: str) -> Iterator[str]:
    """A proxy that serves `server` below `PREFIX` only, and removes the prefix."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{PREFIX}/"):
                self.send_error(404)
                return
            answer = httpx.get(server + self.path.removeprefix(PREFIX), timeout=60)
            self.send_response(answer.status_code)
            for name in ("content-type", "content-security-policy", "x-content-type-options"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server_socket:
        threading.Thread(target=server_socket.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server_socket.server_port}"
        finally:
            server_socket.shutdown()


def try_it(browser: Browser, address: str) -> None:
    """Read the documentation, and send one request from it; nothing may fail meanwhile."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    watched, failed = WatchedPage(context.new_page(), address), []
    page = watched.page
    page.on("requestfailed", lambda request: failed.append(f"{request.url}: {request.failure}"))
    page.on("response", lambda answer: answer.ok or failed.append(f"{answer.url}: {answer.status}"))
    page.goto(f"{address}/docs")
    for path in ("/detect", "/v1/jobs/{job_id}/results", "/v1/models"):
        expect(page.locator(f'[data-path="{path}"]').first).to_be_visible()
    operation = page.locator("#operations-server-get_liveness")
    operation.get_by_role("button", name="get /healthz", exact=True).click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    expect(operation.locator(".request-url")).to_contain_text(f"{address}/healthz")
    assert (watched.mistakes, watched.elsewhere, failed) == ([], [], [])
    context.close()


def test_it_renders_without_other_servers_and_sends_requests(browser: Browser, tmp_path: Path) -> None:
    with fake_server(tmp_path) as address:
        try_it(browser, address)


def test_it_renders_below_a_prefix(browser: Browser, tmp_path: Path) -> None:
    with fake_server(tmp_path, root_path=PREFIX) as address, proxy(address) as front:
        try_it(browser, f"{front}{PREFIX}")
