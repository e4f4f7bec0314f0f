"""Signs messages as Standard Webhooks defines it, and sends them until they are accepted."""

import base64
import binascii
import hashlib
import hmac
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from selsa_server.jobs.background import Changes, in_thread, work_through
from selsa_server.jobs.remote.addresses import RemoteError
from selsa_server.jobs.remote.connection import RemoteHosts, TransferError
from selsa_server.jobs.webhooks.outbox import Message, Outbox
from selsa_server.settings import RemoteSettings
from selsa_server.telemetry.metrics import Metrics, WebhookOutcome

ANSWER_SECONDS: Final = 15.0
# A claim holds for longer than an attempt takes.
CLAIM_SECONDS: Final = 60.0
LONGEST_PAUSE: Final = 3600.0
PREFIX: Final = "whsec_"
GONE: Final = 410


def read_secrets(path: Path) -> list[bytes]:
    """The secrets in a file, one `whsec_` + base64 per line. A message has a signature of each.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has no secret, or one of another form.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    secrets = [_secret(line, number) for number, line in enumerate(lines, 1) if line and line[0] != "#"]
    if not secrets:
        raise ValueError(f"{path} has no secret; one is {PREFIX} and the base64 of 24 to 64 random bytes")
    return secrets


def signed_headers(secrets: Sequence[bytes], message_id: str, now: float, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks: id, time stamp, and HMAC-SHA256 of both and the body."""
    stamp = str(int(now))
    content = b".".join((message_id.encode(), stamp.encode(), body))
    signatures = (base64.b64encode(hmac.digest(secret, content, hashlib.sha256)) for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{signature.decode()}" for signature in signatures),
    }


class Webhooks:
    """Sends the messages in the outbox.

    Args:
        outbox: the messages.
        hosts: where they may go.
        secrets: sign them; none: no job may name a webhook.
        settings: pauses and bounds.
        changes: of the jobs.
        metrics: counts the attempts.
    """

    def __init__(
        self,
        outbox: Outbox,
        hosts: RemoteHosts,
        secrets: Sequence[bytes],
        settings: RemoteSettings,
        changes: Changes,
        metrics: Metrics,
    ) -> None:
        self._outbox = outbox
        self._hosts = hosts
        self._secrets = secrets
        self._settings = settings
        self._changes = changes
        self._metrics = metrics

    def check(self, url: str) -> str:
        """The address that a client names for a webhook.

        Raises:
            RemoteError: it is not allowed, or this server has no webhooks.
        """
        if not self._secrets:
            raise RemoteError(
                "url_not_allowed",
                "This server sends no webhooks (its setting webhook_secrets_file is empty).",
                parameter="webhook",
            )
        return self._hosts.rules.parse(url, "webhook").url

    async def work(self) -> None:
        """Send until the server ends. Without secrets, messages of an earlier server wait."""
        if not self._secrets:
            return
        await work_through(
            lambda: self._outbox.claim(CLAIM_SECONDS),
            self._send,
            self._changes,
            at_once=self._settings.remote_concurrent,
            patience=self._patience,
        )

    def _patience(self) -> float:
        due = self._outbox.next_in()
        return math.inf if due is None else due

    async def _send(self, message: Message) -> None:
        log = structlog.get_logger().bind(message=message.id, attempts=message.attempts)
        outcome: WebhookOutcome = "delivered"
        failure, final = None, False
        try:
            status = await self._post(message)
            if not 200 <= status < 300:
                outcome, failure, final = "bad_status", f"the receiver answered {status}", status == GONE
        except TransferError as error:
            outcome, failure = "unreachable", str(error)
        except RemoteError as error:
            # Its other reason is a certificate that is not valid.
            outcome = "not_allowed" if error.code == "url_not_allowed" else "unreachable"
            failure = error.detail
        final = failure is not None and (final or message.age >= self._settings.webhook_patience)
        self._metrics.webhook(outcome, given_up=final)
        if failure is None:
            await in_thread(self._outbox.remove, message)
            log.info("webhook delivered")
        elif final:
            await in_thread(self._outbox.remove, message)
            log.error("webhook given up", reason=failure)
        else:
            pause = self._pause(message.attempts)
            await in_thread(self._outbox.postpone, message, pause)
            self._changes.notify()
            log.warning("webhook failed", reason=failure, again_in=round(pause))

    async def _post(self, message: Message) -> int:
        # Checked again: the settings, or what the name leads to, may have changed since the job was taken.
        address = self._hosts.rules.parse(message.url, "webhook")
        body = message.body.encode()
        headers = {
            "Content-Type": "application/json",
            **signed_headers(self._secrets, message.id, time.time(), body),
        }
        async with self._hosts.connect() as connection:
            return await connection.post(address, ANSWER_SECONDS, headers, body)

    def _pause(self, attempts: int) -> float:
        """Growing, and not the same for all messages: a receiver that is back gets them spread."""
        exponent = min(attempts - 1, 30)
        grown = min(self._settings.webhook_pause * 2.0**exponent, LONGEST_PAUSE)
        return grown * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


def _secret(line: str, number: int) -> bytes:
    try:
        secret = base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not line.startswith(PREFIX) or not 24 <= len(secret) <= 64:
        raise ValueError(f"line {number} is no secret: {PREFIX} and the base64 of 24 to 64 random bytes")
    return secret
