"""One thing that `selsa doctor` finds."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report.

    Attributes:
        status: `warn` for what is not needed, or not by everyone.
        subject: what it is about.
        text: what was found.
        remedy: what to do; None if nothing is to be done.
    """

    status: Literal["ok", "warn", "fail"]
    subject: str
    text: str
    remedy: str | None = None
