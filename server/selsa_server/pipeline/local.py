"""Detection without a server: the same pipeline, called directly."""

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from selsa_bundle.runtimes.choice import options_named
from selsa_bundle.runtimes.engine_cache import default_engine_cache
from selsa_bundle.runtimes.load import plan_engines, prove_engines
from selsa_bundle.runtimes.starting import started
from selsa_server.engines.bundle_choice import choose_bundle
from selsa_server.malloc import keep_freed_memory
from selsa_server.pipeline.calls import CALLS
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, VideoRecord

if TYPE_CHECKING:
    from selsa_server.pipeline.pipeline import DetectionPipeline

Record = VideoRecord | FrameRecord | SummaryRecord


def detect(
    video: Path,
    params: DetectParams,
    *,
    bundle: Path | None,
    say: Callable[[str], None],
    engines: Mapping[str, str] = MappingProxyType({}),
) -> Generator[Record, None, None]:
    """Detect on a video file with the bundle in a folder.

    Args:
        bundle: the folder; None: SELSA_BUNDLE, or the packaged default.
        say: gets a message with the bundle if none was named.
        engines: the `provider`, `precision` and `size` to run in, where they were named.

    Raises:
        BundleError: the bundle cannot be used, or not as `engines` asks for.
        DetectError: as `DetectionPipeline.run`.
    """
    pipeline, proven = _started(bundle, say, engines)
    yield from _once(proven, pipeline.run(video, params))


def local_pipeline(
    bundle: Path | None, say: Callable[[str], None], engines: Mapping[str, str]
) -> "DetectionPipeline":
    """The pipeline of a bundle, for a process that decodes and detects and does little else.

    Raises:
        BundleError: the bundle cannot be used, or not as `engines` asks for.
    """
    pipeline, proven = _started(bundle, say, engines)
    proven()
    return pipeline


def _started(
    bundle: Path | None, say: Callable[[str], None], engines: Mapping[str, str]
) -> "tuple[DetectionPipeline, Callable[[], object]]":
    """The pipeline, and what waits until its engines have passed the bundle's gate."""
    keep_freed_memory()
    folder = choose_bundle(bundle, say)
    options = options_named(
        engines.get("provider", "auto"),
        engines.get("precision", "auto"),
        size=int(engines.get("size", "0")),
    )
    options = replace(options, calls=CALLS, engine_cache=default_engine_cache())
    loading = started(plan_engines(folder, options).load)
    # Imports the decoder, OpenCV and the records, which takes about as long as the engines.
    from selsa_server.pipeline.pipeline import DetectionPipeline

    loaded = loading()
    return DetectionPipeline(loaded), started(partial(prove_engines, loaded))


def _once(
    proven: Callable[[], object], records: Generator[Record, None, None]
) -> Generator[Record, None, None]:
    """The records, once the engines have passed: reference frames are computed meanwhile."""
    with closing(records):
        try:
            first = next(records, None)
        except Exception:
            # Wrong outputs explain whatever the pipeline raised.
            proven()
            raise
        proven()
        if first is not None:
            yield first
        yield from records
