"""The Python SDK: send a video to a selsa server and read its detections frame by frame."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selsa_client.client import AsyncClient, Client
    from selsa_client.http.web_video import WebVideo
    from selsa_client.live.async_stream import AsyncLiveStream
    from selsa_client.live.protocol import TimedImage
    from selsa_client.live.stream import LiveStream
    from selsa_client.stream import AsyncDetectionStream, DetectionStream
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

# A name is imported when it is used: `selsa --help` needs none of them, and `selsa detect --local` no httpx.
_MODULES = {
    "selsa_client.client": ("AsyncClient", "Client"),
    "selsa_client.http.web_video": ("WebVideo",),
    "selsa_client.live.async_stream": ("AsyncLiveStream",),
    "selsa_client.live.protocol": ("TimedImage",),
    "selsa_client.live.stream": ("LiveStream",),
    "selsa_client.stream": ("AsyncDetectionStream", "DetectionStream"),
    "selsa_client.wire.errors": (
        "BusyError",
        "DetectionFailedError",
        "IncompleteError",
        "InputError",
        "MissingPackageError",
        "OutputError",
        "RejectedError",
        "ResponseError",
        "SelsaError",
        "ServerFailureError",
        "ServerUnreachableError",
        "WireFormatError",
    ),
    "selsa_client.wire.frames": ("Document", "Frame", "FrameArrays"),
    "selsa_server.schema.detect": (
        "Box",
        "Detection",
        "DetectionDocument",
        "DetectParams",
        "ErrorRecord",
        "FrameRecord",
        "ModelInfo",
        "SummaryRecord",
        "VideoRecord",
    ),
    "selsa_server.schema.jobs": ("Job",),
    "selsa_server.schema.models": ("ModelStatus",),
}
_LATER = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("selsa")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
