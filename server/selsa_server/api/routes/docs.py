"""The page at `/docs`: Swagger UI, shipped with the package, so that it works without internet.

`make api-docs` brings its files (npm package swagger-ui-dist) and their checksums.
"""

from pathlib import Path
from types import MappingProxyType
from typing import Final

from fastapi import APIRouter, Response

from selsa_server.errors import RequestError

FOLDER: Final = Path(__file__).resolve().parents[1] / "swagger_ui"
_TYPES: Final = MappingProxyType({".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"})
_HEADERS: Final = MappingProxyType(
    {
        # Swagger UI has its icons as data: addresses in its style sheet.
        "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
    }
)


def docs_router() -> APIRouter:
    """The routes of the page, left out of the OpenAPI document.

    Raises:
        OSError: a file is missing.
    """
    router = APIRouter(include_in_schema=False)
    document = (FOLDER / "index.html").read_bytes()
    files = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in _TYPES}

    @router.get("/docs")
    async def docs() -> Response:
        return Response(document, media_type="text/html", headers=dict(_HEADERS))

    @router.get("/docs/{name}")
    async def docs_file(name: str) -> Response:
        if name not in files:
            raise RequestError("not_found", f"The documentation has no file {name[:100]!r}.")
        return Response(files[name], media_type=_TYPES[Path(name).suffix], headers=dict(_HEADERS))

    return router
