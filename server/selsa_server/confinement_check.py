"""Whether decoders are confined on this machine: one is begun, and tries what it must not be able to do."""

from dataclasses import replace

from selsa_server.decoder_answers import ReadyAnswer
from selsa_server.decoder_orders import Prove
from selsa_server.decoder_process import DecoderProcess
from selsa_server.decoder_rules import DecoderRules
from selsa_server.errors import DetectError
from selsa_server.fork_server import ForkServer

__all__ = ["unconfined_parts"]


def unconfined_parts(fork_server: ForkServer, rules: DecoderRules) -> dict[str, str]:
    """The parts of confinement that are not had, each with the reason."""
    try:
        process = DecoderProcess(fork_server, replace(rules, required=False), rules.reading())
    except OSError as error:
        return {"processes": f"a decoder cannot be begun: {error}"}
    try:
        process.tell(Prove())
        proof = process.expect(ReadyAnswer)
    except (DetectError, RuntimeError) as error:
        return {"processes": f"a decoder cannot be begun: {error}"}
    finally:
        process.close()
    return {**proof.missing, **(process.missing or {})}
