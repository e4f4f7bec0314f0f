"""Detection without a server: the same pipeline, called directly."""

from collections.abc import Iterator
from pathlib import Path

from selsa_bundle.load import load_engines
from selsa_server.pipeline import DetectionPipeline
from selsa_server.schema import DetectParams, FrameRecord, SummaryRecord, VideoRecord

__all__ = ["detect"]


def detect(
    video: Path, params: DetectParams, *, bundle: Path
) -> Iterator[VideoRecord | FrameRecord | SummaryRecord]:
    """Detect on a video file with the bundle in a folder.

    Raises:
        BundleError: the bundle cannot be used.
        DetectError: as `DetectionPipeline.run`.
    """
    return DetectionPipeline(load_engines(bundle)).run(video, params)
