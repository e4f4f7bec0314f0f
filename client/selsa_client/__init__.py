"""The Python SDK: send a video to a selsa server and read its detections frame by frame."""

from typing import TYPE_CHECKING, Any

from selsa_client.errors import (
    BusyError,
    DetectionFailedError,
    IncompleteError,
    InputError,
    OutputError,
    RejectedError,
    ResponseError,
    SelsaError,
    ServerFailureError,
    ServerUnreachableError,
    WireFormatError,
)
from selsa_server.schema import (
    Box,
    Detection,
    DetectionDocument,
    DetectParams,
    ErrorRecord,
    FrameRecord,
    ModelInfo,
    SummaryRecord,
    VideoRecord,
)

if TYPE_CHECKING:
    from selsa_client.client import AsyncClient, Client

    __version__: str

__all__ = [
    "AsyncClient",
    "Box",
    "BusyError",
    "Client",
    "DetectParams",
    "Detection",
    "DetectionDocument",
    "DetectionFailedError",
    "ErrorRecord",
    "FrameRecord",
    "IncompleteError",
    "InputError",
    "ModelInfo",
    "OutputError",
    "RejectedError",
    "ResponseError",
    "SelsaError",
    "ServerFailureError",
    "ServerUnreachableError",
    "SummaryRecord",
    "VideoRecord",
    "WireFormatError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    # httpx costs as much start-up time as all the rest; `selsa --help` and `--local` need none of it.
    if name in ("AsyncClient", "Client"):
        from selsa_client import client

        return getattr(client, name)
    if name == "__version__":
        from importlib.metadata import version

        return version("selsa")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
