"""Settings of what comes from outside: uploads, and addresses that clients name."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, IPvAnyNetwork, field_validator
from pydantic_settings import NoDecode

# A host that videos may come from, with the port if it is not that of http or https.
HostPattern = Annotated[str, Field(pattern=r"^(\*|(\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$")]


class Group(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A part of the settings."""


class SpoolSettings(Group):
    """Where temporary files are."""

    spool_dir: Path = Field(
        default_factory=lambda: Path(tempfile.gettempdir()),
        description="folder for uploads while they are read",
    )


class UploadSettings(SpoolSettings):
    """Bounds of one upload."""

    max_upload_bytes: int = Field(default=2 << 30, gt=0, description="largest upload in bytes")
    upload_timeout: float = Field(default=30, gt=0, description="seconds an upload may pause")
    min_upload_rate: int = Field(
        default=1000,
        ge=0,
        description="bytes a second that an upload must have on average over upload_timeout",
    )


class RemoteSettings(UploadSettings):
    """Addresses that clients name: videos to fetch, and webhooks."""

    remote_hosts: Annotated[tuple[HostPattern, ...], NoDecode] = Field(
        default=(),
        description="hosts that videos may be fetched from and webhooks sent to: NAME, *.NAME for all below "
        "NAME, or * for any, with :PORT if it is not 80 or 443; default: none",
    )
    remote_networks: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = Field(
        default=(),
        description="networks such as 10.1.0.0/16 that these hosts may be in; default: public addresses only",
    )
    remote_timeout: float = Field(default=3600, gt=0, description="seconds the download of a video may take")
    remote_concurrent: int = Field(
        default=4, ge=1, le=64, description="videos that are downloaded, and webhooks that are sent, at once"
    )
    webhook_secrets_file: Path | None = Field(
        default=None,
        description="file of the secrets (whsec_...) that sign webhooks, one per line; default: no webhooks",
    )
    webhook_pause: float = Field(
        default=5, gt=0, description="seconds before a webhook is sent again, doubled each time up to an hour"
    )
    webhook_patience: float = Field(
        default=24 * 3600, gt=0, description="seconds after which a webhook is not sent again"
    )

    @field_validator("remote_hosts", "remote_networks", mode="before")
    @classmethod
    def _split_remote(cls, value: Any) -> Any:
        return split_at_commas(value)


def split_at_commas(value: Any) -> list[str]:
    """Several values with commas between, as one text or as a list of them."""
    texts = [value] if isinstance(value, str) else list(value)
    return [part.strip().lower() for text in texts for part in str(text).split(",") if part.strip()]
