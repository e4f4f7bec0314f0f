"""Messages about ended jobs that wait for their delivery, in the database of the jobs."""

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from selsa_server.jobs.database import clock_of
from selsa_server.jobs.table import WEBHOOK, JobRow
from selsa_server.schema.detect import SummaryRecord
from selsa_server.schema.jobs import WebhookData, WebhookMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message.

    Attributes:
        id: the same in all attempts, so that a receiver can drop what it has already.
        url: where it goes.
        body: JSON, the same in all attempts.
        created: seconds since the epoch, as all times here.
        next: when it may be claimed.
        attempts: claims, with this one.
        age: seconds since `created`, by the clock of the database.
    """

    id: str
    url: str
    body: str
    created: float
    next: float
    attempts: int
    age: float


def add_message(
    connection: sa.Connection, row: JobRow, summary: SummaryRecord | None, ttl: float | None
) -> None:
    """Store the message about a job that ends in this transaction; a job ends once, so it has one message."""
    assert row.ended is not None and row.webhook is not None
    message = WebhookMessage.model_validate(
        {
            "type": f"job.{row.state}",
            "timestamp": datetime.fromtimestamp(row.ended, UTC),
            "data": WebhookData(
                job=row.view(ttl, row.ended), summary=summary if row.webhook_summary else None
            ),
        }
    )
    values = {
        "id": f"msg_{row.id}",
        "url": row.webhook,
        "body": message.model_dump_json(),
        "created": row.ended,
        "next": row.ended,
    }
    connection.execute(sa.insert(WEBHOOK).values(**values))


class Outbox:
    """The messages of a database, which its `JobStore` closes. Safe for several threads and servers."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._now = clock_of(engine)

    def claim(self, seconds: float) -> Message | None:
        """The message that has been due for longest; nobody else gets it for `seconds`. None: none is due."""
        due = sa.select(WEBHOOK.c.id).where(WEBHOOK.c.next <= self._now()).order_by(WEBHOOK.c.next).limit(1)
        first = due.with_for_update(skip_locked=True).scalar_subquery()
        claim = (
            sa.update(WEBHOOK)
            .where(WEBHOOK.c.id == first)
            .values(next=self._now() + seconds, attempts=WEBHOOK.c.attempts + 1)
            .returning(*WEBHOOK.c, (self._now() - WEBHOOK.c.created).label("age"))
        )
        with self._engine.begin() as connection:
            found = connection.execute(claim).mappings().one_or_none()
        return None if found is None else Message(**found)

    def postpone(self, message: Message, seconds: float) -> None:
        """Try again in `seconds`."""
        later = sa.update(WEBHOOK).where(WEBHOOK.c.id == message.id).values(next=self._now() + seconds)
        with self._engine.begin() as connection:
            connection.execute(later)

    def remove(self, message: Message) -> None:
        """Delete a message that was delivered or given up."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(WEBHOOK).where(WEBHOOK.c.id == message.id))

    def next_in(self) -> float | None:
        """Seconds until the next message is due; None without messages."""
        first = sa.select(sa.func.min(WEBHOOK.c.next) - self._now())
        with self._engine.begin() as connection:
            found = connection.execute(first).scalar_one()
        return None if found is None else float(found)

    def make_due(self) -> None:
        """All messages are due now: a new process need not wait for claims of the one that was killed."""
        with self._engine.begin() as connection:
            connection.execute(sa.update(WEBHOOK).values(next=self._now()))
