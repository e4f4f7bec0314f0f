"""A pipeline whose engines need no network: what surrounds them is real."""

import atexit

from fake_engines import FakeEngines

from selsa_bundle.contract import contract_for
from selsa_bundle.files.stored_file import StoredFile
from selsa_bundle.manifest import EngineFile, Manifest, Provenance
from selsa_bundle.preprocess import Preprocess
from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.api.app import Services
from selsa_server.confined.decoders import ConfinedDecoders
from selsa_server.confined.fork_server import ForkServer
from selsa_server.confined.rules import DecoderRules
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions
from selsa_server.service.admission import Admission
from selsa_server.service.draining import Drain
from selsa_server.service.models import Models
from selsa_server.settings import AdmissionSettings, ServerSettings
from selsa_server.telemetry.metrics import Metrics
from selsa_server.video.container import VideoLimits

__all__ = ["FORK_SERVER", "LIMITS", "MAX_UPLOAD", "fake_bundle", "fake_models", "fake_pipeline"]

LIMITS = VideoLimits(max_duration=60, max_frames=500, max_pixels=640 * 480)
MAX_UPLOAD = 300_000
# One for all tests of a process: it takes most of a second to begin. It does so when it is first needed.
FORK_SERVER = ForkServer()
atexit.register(FORK_SERVER.close)


def fake_bundle(engines: FakeEngines) -> LoadedBundle:
    def engine(name: str) -> EngineFile:
        return EngineFile(
            file=f"{name}.onnx", bytes=1, sha256="0" * 64, tensors=contract_for(name, engines.dimensions)
        )

    manifest = Manifest(
        name="fake",
        classes=("dog", "fox"),
        preprocess=Preprocess(long_side=64, short_side=48),
        dimensions=engines.dimensions,
        reference_frames=4,
        engines={"fp32": {"frame": engine("frame"), "sequence": engine("sequence")}},
        parity=StoredFile(file="parity.json", bytes=1, sha256="0" * 64),
        provenance=Provenance(
            architecture="fake",
            checkpoint_sha256="0" * 64,
            origin="a test",
            created="2026-01-01",
            versions={},
        ),
    )
    return LoadedBundle(manifest=manifest, digest="sha256:" + "0" * 64, engines=engines)


def fake_pipeline(engines: FakeEngines, *, batch: int = 1) -> DetectionPipeline:
    return DetectionPipeline(fake_bundle(engines), PipelineOptions(limits=LIMITS, batch=batch))


def fake_models(engines: FakeEngines, *, batch: int = 1) -> Models:
    """One model on these engines, batched as the server does it."""
    pipeline = fake_pipeline(engines, batch=batch)
    limits = AdmissionSettings(max_concurrent=4, max_queued=4, max_queue_seconds=600, retry_after=1)
    admission = Admission(limits, Drain(5))
    decoders = ConfinedDecoders(fork_server=FORK_SERVER, rules=DecoderRules())
    services = Services(
        ServerSettings(), pipeline.options, admission, Metrics(), lambda _: fake_bundle(engines), decoders
    )
    return Models({"fake": services.around(pipeline)})
