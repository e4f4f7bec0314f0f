"""One line of the report of `selsa doctor`.

An entry point in the group `selsa.doctor` is a function from the folder of a bundle, or None, to findings.
"""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "missing", "unavailable", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report.

    Attributes:
        status: `ok`: it works. `missing`: it is not installed and can be. `unavailable`: this machine cannot
            have it. `warn`: it works in part. `fail`: it does not work.
        subject: the part of the installation.
        text: the result of the check.
        remedy: the next step; None if there is none.
    """

    status: Status
    subject: str
    text: str
    remedy: str | None = None
