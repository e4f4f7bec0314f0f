"""What the server counts, for Prometheus. One registry per application.

No label ever holds text of a client: routes are templates, methods and codes come from fixed lists.
"""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from selsa_bundle.load import LoadedBundle
from selsa_server.batching import EngineCall

__all__ = ["Metrics"]

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
            "The bundles served",
            ("name", "digest", "provider", "precision"),
            registry=registry,
        )
        self._frames = Counter(
            "selsa_frames",
            "Frames by outcome; saved: not worked on because the request ended early",
            ("outcome",),
            registry=registry,
        )
        for outcome in ("emitted", "corrupt", "saved"):
            self._frames.labels(outcome)

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

    def describe(self, bundle: LoadedBundle) -> None:
        """Say that a bundle is served."""
        info = bundle.engines.info
        self._bundles.labels(bundle.manifest.name, bundle.digest, info.provider, info.precision).set(1)

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

    def frames(self, *, emitted: int, corrupt: int, saved: int) -> None:
        """Count the frames of a request that has ended."""
        self._frames.labels("emitted").inc(emitted)
        self._frames.labels("corrupt").inc(corrupt)
        self._frames.labels("saved").inc(saved)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)
