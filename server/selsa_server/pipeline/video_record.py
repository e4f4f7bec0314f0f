"""The first record: the properties of the video and of the model, known before detection."""

from fractions import Fraction

from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.schema.detect import DetectParams, ModelInfo, VideoRecord
from selsa_server.video.index import VideoIndex


def video_record(
    bundle: LoadedBundle,
    index: VideoIndex,
    params: DetectParams,
    references: tuple[int, ...],
    look_ahead: int | None,
) -> VideoRecord:
    """The record of an indexed file."""
    return VideoRecord(
        width=index.width,
        height=index.height,
        frame_count=len(index.pts),
        duration=index.duration,
        average_rate=None if index.average_rate is None else fraction_text(index.average_rate),
        time_base=fraction_text(index.time_base),
        codec=index.codec,
        rotation=index.orientation.rotation,
        mirrored=index.orientation.mirrored,
        sample_aspect_ratio=fraction_text(index.sample_aspect_ratio),
        model=model_info(bundle),
        mode=params.mode,
        reference_frames=references,
        look_ahead=look_ahead,
        rescored=params.rescore,
        fill=None if params.fill == "none" else params.fill,
    )


def model_info(bundle: LoadedBundle) -> ModelInfo:
    """The model and where it runs."""
    info, about = bundle.engines.info, bundle.manifest.about
    return ModelInfo(
        name=bundle.manifest.name,
        title=None if about is None else about.title,
        description=None if about is None else about.description,
        warning=None if about is None else about.warning,
        bundle=bundle.digest,
        provider=info.provider,
        precision=info.precision,
        classes=bundle.manifest.classes,
    )


def fraction_text(value: Fraction) -> str:
    """Always with a denominator: 25/1, not 25."""
    return f"{value.numerator}/{value.denominator}"
