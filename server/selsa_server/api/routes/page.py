"""The page at `/`: built files that come with the package, and the sample video to try it with.

Its sources are in `server/page`; `make page` builds them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from selsa_bundle.default_bundle import sample_video
from selsa_bundle.errors import BundleError
from selsa_server.api.problems import refuse
from selsa_server.errors import RequestError

_PACKAGED: Final = Path(__file__).resolve().parents[2] / "page"
_SAMPLE: Final = "/sample.mp4"
_MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Everything from this server and nothing inline. A local video is a blob.
_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Names of assets contain a digest of their content; the document must be revalidated each time.
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ASK: Final = "no-cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The built page.

    Attributes:
        document: `index.html`.
        assets: bytes and media type of each file that it loads, by name.
        sample: the packaged sample video, if this build has one.
    """

    document: bytes
    assets: Mapping[str, tuple[bytes, str]]
    sample: Path | None

    @property
    def addresses(self) -> frozenset[str]:
        """All its paths. They are open: a user needs the page to enter an API key."""
        sample = {_SAMPLE} if self.sample is not None else set()
        return frozenset({"/", *(f"/assets/{name}" for name in self.assets), *sample})


def read_page() -> Page:
    """The packaged page, read into memory (100 kB at most): no path of a request is ever opened.

    Raises:
        OSError: this build has no `index.html`, or a file that cannot be read.
    """
    assets = {
        path.name: (path.read_bytes(), _MEDIA_TYPES[path.suffix])
        for path in sorted((_PACKAGED / "assets").iterdir())
        if path.suffix in _MEDIA_TYPES
    }
    try:
        sample = sample_video()
    except BundleError:
        sample = None
    return Page(
        document=(_PACKAGED / "index.html").read_bytes(), assets=MappingProxyType(assets), sample=sample
    )


def page_router(page: Page) -> APIRouter:
    """The routes of the page, left out of the OpenAPI document."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def document() -> Response:
        return Response(page.document, headers=_headers(_MEDIA_TYPES[".html"], _ASK))

    @router.api_route("/assets/{name}", methods=["GET", "HEAD"])
    async def asset(name: str) -> Response:
        if name not in page.assets:
            raise RequestError("not_found", f"The page has no asset {name[:100]!r}.")
        content, media_type = page.assets[name]
        return Response(content, headers=_headers(media_type, _FOR_EVER))

    if page.sample is not None:
        sample = page.sample

        @router.api_route(_SAMPLE, methods=["GET", "HEAD"])
        async def sample_file() -> Response:
            return _Sample(sample, headers=_headers("video/mp4", _ASK))

    return router


class _Sample(FileResponse):
    """A file whose ranges that cannot be given are problems; the framework answers them in plain text."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, the range, or the problem."""
        refused: Message | None = None

        async def watched(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refused = message
            elif refused is None:
                await send(message)

        await super().__call__(scope, receive, watched)
        if refused is None:
            return
        size = Headers(raw=refused["headers"]).get("content-range")
        if size is None:
            error = RequestError("malformed_request", "The Range header names no range of bytes.")
        else:
            error = RequestError("range_not_satisfiable", f"The file has {size.rpartition('/')[2]} bytes.")

        async def with_size(message: Message) -> None:
            if size is not None and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Range"] = size
            await send(message)

        await refuse(error, scope, receive, with_size)


def _headers(media_type: str, caching: str) -> dict[str, str]:
    return {**_HEADERS, "Content-Type": media_type, "Cache-Control": caching}
