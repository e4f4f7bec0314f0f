"""Detection without a server: the same pipeline, called directly."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from selsa_bundle.runtimes.choice import EngineOptions, options_named
from selsa_bundle.runtimes.engine_cache import default_engine_cache
from selsa_bundle.runtimes.load import LoadedBundle, load_engines, prove_engines
from selsa_bundle.runtimes.starting import started
from selsa_server.engines.bundle_choice import choose_bundle
from selsa_server.malloc import keep_freed_memory
from selsa_server.pipeline.calls import CALLS
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, VideoRecord

if TYPE_CHECKING:
    from selsa_server.pipeline.pipeline import DetectionPipeline


def detect(
    video: Path,
    params: DetectParams,
    *,
    bundle: Path | None,
    say: Callable[[str], None],
    engines: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[VideoRecord | FrameRecord | SummaryRecord]:
    """Detect on a video file with the bundle in a folder.

    Args:
        bundle: the folder; None: SELSA_BUNDLE, or the packaged default.
        say: gets a message with the bundle if none was named.
        engines: the `provider`, `precision` and `size` to run in, where they were named.

    Raises:
        BundleError: the bundle cannot be used, or not as `engines` asks for.
        DetectError: as `DetectionPipeline.run`.
    """
    return local_pipeline(bundle, say, engines).run(video, params)


def local_pipeline(
    bundle: Path | None, say: Callable[[str], None], engines: Mapping[str, str]
) -> "DetectionPipeline":
    """The pipeline of a bundle, for a process that decodes and detects and does little else.

    Raises:
        BundleError: the bundle cannot be used, or not as `engines` asks for.
    """
    keep_freed_memory()
    folder = choose_bundle(bundle, say)
    options = options_named(
        engines.get("provider", "auto"),
        engines.get("precision", "auto"),
        size=int(engines.get("size", "0")),
    )
    options = replace(options, calls=CALLS, engine_cache=default_engine_cache())
    loaded = started(lambda: _proven(folder, options))
    # Imports the decoder, OpenCV and the records, which takes about as long as the engines.
    from selsa_server.pipeline.pipeline import DetectionPipeline

    return DetectionPipeline(loaded())


def _proven(folder: Path, options: EngineOptions) -> LoadedBundle:
    loaded = load_engines(folder, options)
    prove_engines(loaded)
    return loaded
