"""One line of the report of `selsa doctor`.

An entry point in the group `selsa.doctor` is a function from the folder of a bundle, or None, to findings.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report.

    Attributes:
        status: `warn` for something that is not needed, or not by everyone.
        subject: the part of the installation.
        text: the result of the check.
        remedy: the next step; None if there is none.
    """

    status: Literal["ok", "warn", "fail"]
    subject: str
    text: str
    remedy: str | None = None
