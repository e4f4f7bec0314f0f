"""Who decodes: what the settings ask for, and how far this system can give it."""

import structlog

from selsa_server.decoder_outcome import DecoderOutcome
from selsa_server.decoder_rules import DecoderRules, default_memory
from selsa_server.decoders import Decoders, LocalDecoders
from selsa_server.fork_server import ForkServer, can_fork
from selsa_server.metrics import Metrics
from selsa_server.settings import ServerSettings

__all__ = ["build_decoders", "decoder_rules", "unconfined"]


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
    from selsa_server.confined_decoders import ConfinedDecoders

    return ConfinedDecoders(fork_server=fork_server, rules=decoder_rules(settings), ended=ended)


def unconfined(fork_server: ForkServer, rules: DecoderRules) -> dict[str, str]:
    """In what decoders are not confined here, and why; found out by one that tries."""
    if not can_fork():
        return {"processes": "this system cannot fork, so decoders work in the server"}
    from selsa_server.confinement_check import unconfined_parts

    return unconfined_parts(fork_server, rules)


def decoder_rules(settings: ServerSettings) -> DecoderRules:
    """What the settings ask of decoders."""
    return DecoderRules(
        required=settings.confinement == "required",
        timeout=settings.decoder_timeout,
        memory=settings.decoder_memory or default_memory(settings.max_pixels),
        cpu_seconds=settings.decoder_cpu_seconds,
        retry_after=settings.retry_after,
    )
