"""The detection pipeline: a video file in, records out, in bounded time and memory.

Pass 1 demuxes to learn the frames and their times. In `sequence` mode the reference frames, spread over the
whole clip, are decoded and fill the bank. Pass 2 decodes in order; decoding and resizing run ahead of
the engines, by a bounded number of frames. The server and local detection both use this class; it knows no
web framework.
"""

from collections.abc import Generator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.decoders.local import LocalDecoders
from selsa_server.decoders.protocol import Decoders, OpenVideo
from selsa_server.errors import ParameterError
from selsa_server.pipeline.sequence_run import PipelineOptions, PipelineRun, Resume
from selsa_server.run_context import RunContext, StoppedError
from selsa_server.schema.detect import DetectParams, FrameRecord, SummaryRecord, VideoRecord
from selsa_server.video.selection import Selection, select_frames

Records = Generator[VideoRecord | FrameRecord | SummaryRecord, None, None]


@dataclass(frozen=True, slots=True)
class SelectedVideo:
    """An open video, and the frames of it that a request asks for.

    Attributes:
        video: the file; it is open until its context is left.
        selection: key frames and reference frames, by source index.
    """

    video: OpenVideo
    selection: Selection

    @property
    def duration(self) -> float:
        """Seconds of video that the selected key frames stand for."""
        index = self.video.index
        return index.duration * len(self.selection.keys) / len(index)


class DetectionPipeline:
    """Detects on video files with one bundle. Holds no state between runs; safe for several threads.

    Args:
        decoders: what decodes; None: this process.
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
        """Refuse parameters that do not fit the bundle, before any work.

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
                near = get_close_matches(name, names, n=3)
                hint = f" Did you mean {' or '.join(near)}?" if near else ""
                raise ParameterError("classes", f"The model has no class {name!r}.{hint}", allowed)
        limit = self.bundle.engines.dimensions.detections
        if params.max_detections is not None and params.max_detections > limit:
            raise ParameterError(
                "max_detections",
                f"max_detections is {params.max_detections}; the model gives {limit} at most.",
                f"1 to {limit}",
            )

    def open(self, path: Path, params: DetectParams, run: RunContext) -> SelectedVideo:
        """Index a video file and select the frames that are asked for.

        Raises:
            ParameterError: no frame is selected.
            VideoError: no video, or over a limit.
            DecoderError: the decoder failed on it.
            StoppedError: the run was stopped.
        """
        manifest = self.bundle.manifest
        with run.clock("index"):
            video = self.decoders.open(path, self.options.limits, manifest.preprocess, run)
        try:
            return SelectedVideo(video, select_frames(video.index, params, manifest.reference_frames))
        except BaseException:
            video.release()
            raise

    def detect(
        self, selected: SelectedVideo, params: DetectParams, run: RunContext, resume: Resume | None = None
    ) -> Records:
        """Detect on a video that `open` opened; it stays open. See `run`."""
        self.check(params)
        detection = PipelineRun(self.bundle, self.options, params, run)
        return detection.records(selected.video, selected.selection, resume or Resume(emitted=0, last=-1))

    def run(
        self,
        path: Path,
        params: DetectParams,
        run: RunContext | None = None,
        resume: Resume | None = None,
    ) -> Records:
        """Detect on a video file.

        Args:
            run: cancellation, timings and progress. Once it is stopped, the records end without a summary.
                Closing the generator is not enough: it cannot be closed while it works, and the reference
                frames run before the first record.
            resume: where an earlier run ended. Its frame records are left out; in `sequence` mode they are
                not computed again.

        Yields:
            One `VideoRecord`, a `FrameRecord` per selected frame in order, one `SummaryRecord`. Closing the
            generator stops decoding and inference after the current call.

        Raises:
            ParameterError: a parameter that does not fit the bundle or the video.
            VideoError: no video, over a limit, or not decodable.
            DecoderError: the decoder failed on it.
            EngineFailureError: an engine failed.
        """
        self.check(params)
        return self._run(path, params, run or RunContext(), resume)

    def _run(self, path: Path, params: DetectParams, run: RunContext, resume: Resume | None) -> Records:
        try:
            selected = self.open(path, params, run)
        except StoppedError:
            return
        with selected.video:
            yield from self.detect(selected, params, run, resume)
