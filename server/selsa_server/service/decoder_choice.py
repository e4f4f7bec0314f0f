"""Who decodes: what the settings ask for, and how far this system can give it."""

import structlog

from selsa_server.confined.fork_server import ForkServer, can_fork
from selsa_server.confined.outcome_kind import DecoderOutcome
from selsa_server.confined.rules import DecoderRules, default_memory
from selsa_server.decoders.local import LocalDecoders
from selsa_server.decoders.protocol import Decoders
from selsa_server.settings import ServerSettings
from selsa_server.telemetry.metrics import Metrics


def build_decoders(settings: ServerSettings, fork_server: ForkServer, metrics: Metrics) -> Decoders:
    """The decoders of a server, which `metrics` count."""
    if settings.confinement == "off" or not can_fork():
        return LocalDecoders()

    def ended(outcome: DecoderOutcome, cpu_seconds: float) -> None:
        metrics.decoder(outcome, cpu_seconds)
        if outcome not in ("ok", "cancelled"):
            structlog.get_logger().warning(
                "decoder ended", outcome=outcome, cpu_seconds=round(cpu_seconds, 3)
            )

    # Not at the top, since parts of it are not there where nothing can be forked.
    from selsa_server.confined.decoders import ConfinedDecoders

    return ConfinedDecoders(fork_server=fork_server, rules=decoder_rules(settings), ended=ended)


def decoder_rules(settings: ServerSettings) -> DecoderRules:
    """What the settings ask of decoders."""
    return DecoderRules(
        required=settings.confinement == "required",
        timeout=settings.decoder_timeout,
        memory=settings.decoder_memory or default_memory(settings.max_pixels),
        cpu_seconds=settings.decoder_cpu_seconds,
        retry_after=settings.retry_after,
    )
