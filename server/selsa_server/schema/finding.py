"""One line of the report of `selsa doctor`, for the server and for the client."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report.

    Attributes:
        status: `warn` for an optional part that is missing or does not work.
        subject: the part that was checked.
        text: the result.
        remedy: what to do; None if nothing.
    """

    status: Literal["ok", "warn", "fail"]
    subject: str
    text: str
    remedy: str | None = None
