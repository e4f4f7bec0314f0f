"""Metrics for Prometheus. One registry per application.

No label holds text of a client: routes are templates, methods and codes come from fixed lists.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.confined.outcome import DECODER_OUTCOMES, DecoderOutcome
from selsa_server.engines.batching import EngineCall

FrameKind = Literal["detect", "job", "stream"]
WebhookOutcome = Literal["delivered", "bad_status", "unreachable", "not_allowed"]

KINDS: Final[tuple[FrameKind, ...]] = ("detect", "job", "stream")
OUTCOMES: Final = ("emitted", "corrupt", "saved", "dropped")
# How a download ends: complete, cancelled (also by the end of the server), or the code of its job's error.
DOWNLOAD_OUTCOMES: Final = (
    "complete",
    "cancelled",
    "body_too_large",
    "download_failed",
    "download_timeout",
    "internal_error",
    "jobs_full",
    "unsupported_playlist",
    "url_not_allowed",
)
MODEL_STATES: Final = ("ready", "loading", "unloading", "failed")
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
BATCHES: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)


class Metrics:
    """Counters of one application; safe for several threads."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "selsa_requests", "Requests answered", ("route", "method", "status", "code"), registry=registry
        )
        self._seconds = Histogram(
            "selsa_request_seconds", "Seconds per request", ("route",), buckets=SECONDS, registry=registry
        )
        self._first_record = Histogram(
            "selsa_first_record_seconds",
            "Seconds from the request to its first frame record",
            buckets=SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "selsa_batch_frames", "Frames per engine call", ("engine",), buckets=BATCHES, registry=registry
        )
        self._callers = Histogram(
            "selsa_batch_callers", "Videos per engine call", ("engine",), buckets=BATCHES, registry=registry
        )
        self._engine_seconds = Counter(
            "selsa_engine_seconds", "Seconds in engine calls", ("engine",), registry=registry
        )
        self._engine_failures = Counter(
            "selsa_engine_failures", "Engine calls that failed", ("engine",), registry=registry
        )
        self._bundles = Gauge(
            "selsa_bundle",
            "The bundles served, by the names they are served by",
            ("name", "digest", "provider", "precision"),
            registry=registry,
        )
        self._frames = Counter(
            "selsa_frames",
            "Frames by kind of request and outcome. saved: not worked on because the client left or "
            "cancelled; dropped: left out of a stream by its drop option",
            ("kind", "outcome"),
            registry=registry,
        )
        self._decoders = Counter(
            "selsa_decoders",
            "Decoder processes that ended, by outcome. cancelled: its client left; failed: it could not "
            "start, or the log has its error",
            ("outcome",),
            registry=registry,
        )
        self._decoder_seconds = Counter(
            "selsa_decoder_cpu_seconds", "Processor time of decoder processes that ended", registry=registry
        )
        self._downloads = Counter(
            "selsa_downloads",
            "Downloads of videos that ended, by outcome: complete, cancelled, or the code of the job's error",
            ("outcome",),
            registry=registry,
        )
        self._download_bytes = Counter(
            "selsa_download_bytes", "Bytes of videos that were downloaded", registry=registry
        )
        self._webhooks = Counter(
            "selsa_webhooks", "Attempts to send a webhook, by outcome", ("outcome",), registry=registry
        )
        self._webhooks_given_up = Counter(
            "selsa_webhooks_given_up", "Webhooks that are not sent again", registry=registry
        )
        for outcome in DOWNLOAD_OUTCOMES:
            self._downloads.labels(outcome)
        for sent in get_args(WebhookOutcome):
            self._webhooks.labels(sent)
        for end in DECODER_OUTCOMES:
            self._decoders.labels(end)
        for kind in KINDS:
            for outcome in OUTCOMES:
                self._frames.labels(kind, outcome)

    def watch(
        self, *, queued_seconds: Callable[[], float], inside: Callable[[], int], running: Callable[[], int]
    ) -> None:
        """Show these numbers as they are whenever metrics are asked for."""
        gauges = (
            ("selsa_queue_video_seconds", "Video-seconds of work let in and not done", queued_seconds),
            ("selsa_requests_inside", "Detection requests that hold a place", inside),
            ("selsa_requests_running", "Detection requests that detect", running),
        )
        for name, text, value in gauges:
            Gauge(name, text, registry=self._registry).set_function(value)

    def watch_models(self, count: Callable[[], Mapping[str, int]]) -> None:
        """Show how many models there are in each state, as it is whenever metrics are asked for."""
        gauge = Gauge("selsa_models", "Models by state", ("state",), registry=self._registry)
        for state in MODEL_STATES:
            gauge.labels(state).set_function(partial(_count_of, state, count))

    def describe(self, name: str, bundle: LoadedBundle, *, served: bool) -> None:
        """Show that a bundle is served under a name, or no longer is."""
        info = bundle.engines.info
        labels = (name, bundle.digest, info.provider, info.precision)
        if served:
            self._bundles.labels(*labels).set(1)
        else:
            self._bundles.remove(*labels)

    def request(self, *, route: str, method: str, status: int, code: str, seconds: float) -> None:
        """Count a request that has ended."""
        known = method if method in METHODS else "other"
        self._requests.labels(route, known, str(status), code).inc()
        self._seconds.labels(route).observe(seconds)

    def first_record(self, seconds: float) -> None:
        """Note how long the first frame record took."""
        self._first_record.observe(seconds)

    def engine_call(self, call: EngineCall) -> None:
        """Count a call that an engine ran."""
        self._batches.labels(call.engine).observe(call.frames)
        self._callers.labels(call.engine).observe(call.callers)
        self._engine_seconds.labels(call.engine).inc(call.seconds)
        if call.failed:
            self._engine_failures.labels(call.engine).inc()

    def frames(self, kind: FrameKind, *, emitted: int, corrupt: int, saved: int, dropped: int = 0) -> None:
        """Count the frames of a request or stream, or of a run of a job, that has ended."""
        for outcome, count in zip(OUTCOMES, (emitted, corrupt, saved, dropped), strict=True):
            self._frames.labels(kind, outcome).inc(count)

    def decoder(self, outcome: DecoderOutcome, cpu_seconds: float) -> None:
        """Count a decoder process that has ended."""
        self._decoders.labels(outcome).inc()
        self._decoder_seconds.inc(cpu_seconds)

    def downloaded(self, size: int) -> None:
        """Count bytes of a download that arrived."""
        self._download_bytes.inc(size)

    def download(self, outcome: str) -> None:
        """Count a download that has ended: `complete`, `cancelled`, or the code of its job's error."""
        self._downloads.labels(outcome if outcome in DOWNLOAD_OUTCOMES else "internal_error").inc()

    def webhook(self, outcome: WebhookOutcome, *, given_up: bool = False) -> None:
        """Count an attempt to send a webhook; `given_up`: it was the last one, and failed."""
        self._webhooks.labels(outcome).inc()
        self._webhooks_given_up.inc(int(given_up))

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)


def _count_of(state: str, count: Callable[[], Mapping[str, int]]) -> float:
    return count().get(state, 0)
