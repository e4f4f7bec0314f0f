"""The Python SDK: send a video to a selsa server and read its detections frame by frame."""

from typing import TYPE_CHECKING, Any

from selsa_client.wire.errors import (
    BusyError,
    DetectionFailedError,
    IncompleteError,
    InputError,
    MissingPackageError,
    OutputError,
    RejectedError,
    ResponseError,
    SelsaError,
    ServerFailureError,
    ServerUnreachableError,
    WireFormatError,
)
from selsa_client.wire.frames import Document, Frame, FrameArrays
from selsa_server.schema.detect import (
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
    from selsa_client.http.web_video import WebVideo
    from selsa_client.live.async_stream import AsyncLiveStream
    from selsa_client.live.protocol import TimedImage
    from selsa_client.live.stream import LiveStream
    from selsa_client.stream import AsyncDetectionStream, DetectionStream
    from selsa_server.schema.jobs import Job
    from selsa_server.schema.models import ModelStatus

    __version__: str

__all__ = [
    "AsyncClient",
    "AsyncDetectionStream",
    "AsyncLiveStream",
    "Box",
    "BusyError",
    "Client",
    "DetectParams",
    "Detection",
    "DetectionDocument",
    "DetectionFailedError",
    "DetectionStream",
    "Document",
    "ErrorRecord",
    "Frame",
    "FrameArrays",
    "FrameRecord",
    "IncompleteError",
    "InputError",
    "Job",
    "LiveStream",
    "MissingPackageError",
    "ModelInfo",
    "ModelStatus",
    "OutputError",
    "RejectedError",
    "ResponseError",
    "SelsaError",
    "ServerFailureError",
    "ServerUnreachableError",
    "SummaryRecord",
    "TimedImage",
    "VideoRecord",
    "WebVideo",
    "WireFormatError",
    "__version__",
]

# httpx costs as much start-up time as all the rest; `selsa --help` and `--local` need none of it.
_LATER = {
    "AsyncClient": "selsa_client.client",
    "AsyncDetectionStream": "selsa_client.stream",
    "AsyncLiveStream": "selsa_client.live.async_stream",
    "Client": "selsa_client.client",
    "DetectionStream": "selsa_client.stream",
    "Job": "selsa_server.schema.jobs",
    "LiveStream": "selsa_client.live.stream",
    "ModelStatus": "selsa_server.schema.models",
    "TimedImage": "selsa_client.live.protocol",
    "WebVideo": "selsa_client.http.web_video",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("selsa")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
