"""Everything about the server that can be set, from the environment (`SELSA_...`) or the command line."""

import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["LogLevel", "ServerSettings"]

LogLevel = Literal["debug", "info", "warning", "error"]


class ServerSettings(BaseSettings):
    """Settings of one server; each is also the environment variable SELSA_ + its name."""

    model_config = SettingsConfigDict(env_prefix="SELSA_", frozen=True, extra="forbid")

    bundle: Path = Field(default=Path("bundle"), description="folder of the bundle to serve")
    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    spool_dir: Path = Field(
        default_factory=lambda: Path(tempfile.gettempdir()),
        description="folder for uploads while they are read",
    )
    max_upload_bytes: int = Field(default=2 << 30, gt=0, description="largest upload in bytes")
    upload_timeout: float = Field(default=30, gt=0, description="seconds an upload may pause")
    max_duration: float = Field(default=4 * 3600, gt=0, description="longest video in seconds")
    max_frames: int = Field(default=1_000_000, gt=0, description="most frames of a video")
    max_pixels: int = Field(default=8192 * 4352, gt=0, description="most pixels of a frame")
    max_concurrent: int = Field(default=1, ge=1, le=64, description="videos that are detected on at once")
    max_queued: int = Field(default=8, ge=0, le=10_000, description="further requests that upload or wait")
    retry_after: int = Field(default=5, ge=1, description="seconds a client is asked to wait when it is full")
    threads: int = Field(
        default=0, ge=0, le=1024, description="threads of an engine; 0: one per physical core"
    )
    batch: int = Field(default=4, ge=1, le=256, description="frames of a video in one engine call at most")
    prefetch: int = Field(default=8, ge=1, le=256, description="frames decoded ahead at most")
    log_level: LogLevel = Field(default="info", description="least severe message that is logged")
