"""Where videos are decoded, by the settings and by what this system supports."""

import structlog

from selsa_server.confined.fork_server import ForkServer, can_fork
from selsa_server.confined.outcome import DecoderOutcome
from selsa_server.confined.rules import DecoderRules, default_memory
from selsa_server.decoders.local import LocalDecoders
from selsa_server.decoders.protocol import Decoders
from selsa_server.settings import DecoderSettings
from selsa_server.telemetry.metrics import Metrics


def build_decoders(
    settings: DecoderSettings, retry_after: int, fork_server: ForkServer, metrics: Metrics
) -> Decoders:
    """The decoders of a server; `metrics` counts them."""
    if settings.confinement == "off" or not can_fork():
        return LocalDecoders()

    def ended(outcome: DecoderOutcome, cpu_seconds: float) -> None:
        metrics.decoder(outcome, cpu_seconds)
        if outcome not in ("ok", "cancelled"):
            structlog.get_logger().warning(
                "decoder ended", outcome=outcome, cpu_seconds=round(cpu_seconds, 3)
            )

    # Imported here: it needs system calls that are missing where a process cannot fork.
    from selsa_server.confined.decoders import ConfinedDecoders

    return ConfinedDecoders(fork_server=fork_server, rules=decoder_rules(settings, retry_after), ended=ended)


def decoder_rules(settings: DecoderSettings, retry_after: int) -> DecoderRules:
    """The bounds of one decoder process."""
    return DecoderRules(
        required=settings.confinement == "required",
        timeout=settings.decoder_timeout,
        memory=settings.decoder_memory or default_memory(settings.max_pixels),
        cpu_seconds=settings.decoder_cpu_seconds,
        retry_after=retry_after,
    )
