"""Self-test: start a decoder and let it try what it must not be able to do."""

from dataclasses import replace

from selsa_server.confined.answers import ReadyAnswer
from selsa_server.confined.fork_server import ForkServer, can_fork
from selsa_server.confined.orders import Prove
from selsa_server.confined.process import DecoderProcess
from selsa_server.confined.rules import DecoderRules
from selsa_server.errors import DetectError


def unconfined(fork_server: ForkServer, rules: DecoderRules) -> dict[str, str]:
    """Parts of confinement that are missing, each with the reason."""
    if not can_fork():
        return {"processes": "this system cannot fork, so decoders work in the server"}
    try:
        process = DecoderProcess(fork_server, replace(rules, required=False), rules.reading())
    except OSError as error:
        return {"processes": f"a decoder cannot be started: {error}"}
    try:
        process.tell(Prove())
        proof = process.expect(ReadyAnswer)
    except (DetectError, RuntimeError) as error:
        return {"processes": f"a decoder cannot be started: {error}"}
    finally:
        process.close()
    return {**proof.missing, **(process.missing or {})}
