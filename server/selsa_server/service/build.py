"""From a bundle to a service: its own engines, with everything that the models of a server share."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.decoders.protocol import Decoders
from selsa_server.engines.batching import BatchingEngines, BatchingOptions
from selsa_server.engines.readiness import run_one_frame
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions
from selsa_server.service.admission import Admission
from selsa_server.service.detection import DetectionService
from selsa_server.settings import EngineSettings
from selsa_server.telemetry.metrics import Metrics

LoadBundle = Callable[[Path], LoadedBundle]


@dataclass(frozen=True, slots=True)
class Services:
    """Makes services that share everything but their engines.

    Attributes:
        settings: how engine calls are merged.
        options: of the pipelines.
        admission: bounds the requests of all models together.
        metrics: counts engine calls and requests.
        load_bundle: loads the bundle in a folder; raises BundleError.
        decoders: decode the videos of all models.
    """

    settings: EngineSettings
    options: PipelineOptions
    admission: Admission
    metrics: Metrics
    load_bundle: LoadBundle
    decoders: Decoders

    def around(self, pipeline: DetectionPipeline) -> DetectionService:
        """The service of a pipeline. It owns the pipeline's engines."""
        options = BatchingOptions(
            max_batch=self.settings.max_batch,
            max_wait=self.settings.max_batch_wait,
            calls_at_once=self.settings.engine_calls,
        )
        engines = BatchingEngines(pipeline.bundle.engines, options, self.metrics.engine_call)
        bundle = replace(pipeline.bundle, engines=engines)
        shared = DetectionPipeline(bundle, pipeline.options, self.decoders)
        return DetectionService(
            pipeline=shared, engines=engines, admission=self.admission, metrics=self.metrics
        )

    def load(self, name: str, folder: Path) -> DetectionService:
        """The service of the bundle in a folder, after its first frame.

        Raises:
            BundleError: it cannot be used, or its engines fail.
        """
        bundle = self.load_bundle(folder)
        try:
            run_one_frame(bundle)
        except BaseException:
            bundle.engines.close()
            raise
        return self.around(DetectionPipeline(bundle, replace(self.options, model=name)))
