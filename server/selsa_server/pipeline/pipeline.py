"""The detection pipeline: a video file in, records out, in bounded time and memory.

Pass 1 demuxes to learn the frames and their times. In `sequence` mode the reference frames, spread over the
whole clip, are decoded and fill the bank. Pass 2 decodes in order; decoding and resizing run a bounded way
ahead of the engines. Served and local detection are this class; it knows no web framework.
"""

from collections.abc import Callable, Generator
from pathlib import Path

from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.decoders.local import LocalDecoders
from selsa_server.decoders.protocol import Decoders, OpenVideo
from selsa_server.errors import ParameterError
from selsa_server.pipeline.progress import Progress, Resume
from selsa_server.pipeline.sequence_run import PipelineOptions, PipelineRun
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, VideoRecord


class DetectionPipeline:
    """Detects on video files with one bundle. Holds no state between runs; safe for several threads.

    Args:
        bundle: what detects.
        options: how it works.
        decoders: who decodes; None: this process.
    """

    def __init__(
        self,
        bundle: LoadedBundle,
        options: PipelineOptions | None = None,
        decoders: Decoders | None = None,
    ) -> None:
        self.bundle = bundle
        self.options = options or PipelineOptions()
        self.decoders = decoders or LocalDecoders()

    def check(self, params: DetectParams) -> None:
        """Refuse what the bundle does not have, before any work.

        Raises:
            ParameterError: another model, an unknown class, or more detections than the engine gives.
        """
        model = self.options.model or self.bundle.manifest.name
        if params.model not in (None, model):
            raise ParameterError("model", f"There is no model {params.model!r} here.", model)
        names = self.bundle.manifest.classes
        for name in params.classes:
            if name not in names:
                allowed = ", ".join(names)
                raise ParameterError("classes", f"The model has no class {name!r}.", allowed)
        limit = self.bundle.engines.dimensions.detections
        if params.max_detections is not None and params.max_detections > limit:
            raise ParameterError(
                "max_detections",
                f"max_detections is {params.max_detections}; the model gives {limit} at most.",
                f"1 to {limit}",
            )

    def run(
        self,
        path: Path,
        params: DetectParams,
        *,
        stopped: Callable[[], bool] = lambda: False,
        progress: Progress | None = None,
        resume: Resume | None = None,
        video: OpenVideo | None = None,
    ) -> Generator[VideoRecord | FrameRecord | SummaryRecord, None, None]:
        """Detect on a video file.

        Args:
            path: the file.
            params: what was asked for.
            stopped: asked before every engine call; once it is true, the records end there, without a
                summary. A generator cannot be closed while it works, and the reference frames are run before
                the first record.
            progress: kept up to date with the frames selected and done.
            resume: where an earlier run had come to; the frame records that it gave are left out, and in
                `sequence` mode are not computed again.
            video: the file, if it was opened already; it stays open.

        Yields:
            One `VideoRecord`, a `FrameRecord` per selected frame in order, one `SummaryRecord`. Closing the
            generator stops decoding and inference after the call in hand.

        Raises:
            ParameterError: a parameter that does not fit the bundle or the video.
            VideoError: no video, over a limit, or not decodable.
            DecoderError: the decoder failed on it.
            EngineFailureError: an engine failed.
        """
        self.check(params)
        run = PipelineRun(
            self.bundle, self.options, self.decoders, path, params, stopped, progress or Progress()
        )
        return run.records(resume or Resume(emitted=0, last=-1), video)
