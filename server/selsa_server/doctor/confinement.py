"""What `selsa doctor` finds of the confinement of decoders."""

from collections.abc import Iterator
from contextlib import closing
from typing import Final

from selsa_server.confined.check import unconfined
from selsa_server.confined.fork_server import ForkServer
from selsa_server.confined.rules import DecoderRules
from selsa_server.schema.finding import Finding

REMEDIES: Final = {
    "files": "use Linux 5.13 or newer with Landlock switched on (`landlock` in its lsm= list)",
    "system calls": "let the container use seccomp and prctl, as Docker's default profile does",
}
OTHERWISE: Final = (
    "run the server in a container without privileges; with confinement=required it will not start"
)


def confinement_findings() -> Iterator[Finding]:
    """Whether a decoder can do what it must not: one is begun and tries."""
    with closing(ForkServer()) as fork_server:
        missing = unconfined(fork_server, DecoderRules())
    if not missing:
        text = "decoders have processes of their own, without network, other files and privileges"
        yield Finding(status="ok", subject="confinement", text=text)
    for part, reason in missing.items():
        yield Finding(
            status="warn",
            subject="confinement",
            text=f"{part}: {reason}",
            remedy=REMEDIES.get(part, OTHERWISE),
        )
