"""The settings of the server, from the environment (`SELSA_...`) or the command line.

Each part of the server takes its own group, and `ServerSettings` is all groups together. Names are flat:
groups exist in the code only.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from selsa_bundle.providers import PrecisionName, ProviderName
from selsa_bundle.remote.addresses import is_address, shown
from selsa_server.settings.remote import Group, RemoteSettings, UploadSettings, split_at_commas

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "text", "json"]
SequencePlace = Literal["ingress", "replica"]
ConfinementMode = Literal["required", "best-effort", "off"]
HostName = Annotated[str, Field(pattern=r"^(\*|(\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\])$")]
Origin = Annotated[str, Field(pattern=r"^https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$")]
# A path without a slash at its end; "" for none.
PREFIX_PATTERN: Final = r"^(/[A-Za-z0-9._~-]+)*$"


class BundleSource(BaseModel):
    """A bundle to serve: its folder or address, and the name to serve it by; None: the bundle's own."""

    model_config = ConfigDict(frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None
    path: Path
    address: str | None = None

    @field_serializer("address")
    def _without_signature(self, address: str | None) -> str | None:
        """Settings are logged."""
        return None if address is None else shown(address)


class BundleSettings(BaseSettings):
    """The bundles to serve."""

    model_config = SettingsConfigDict(
        env_prefix="SELSA_", env_ignore_empty=True, frozen=True, extra="forbid", allow_inf_nan=False
    )

    bundle: Annotated[tuple[BundleSource, ...], NoDecode] = Field(
        default=(),
        description="folder of the bundle to serve, its address (https://...#sha256=..., hf://... or "
        "s3://...), or NAME= and one of these; several give several models, of which the first is the "
        "default; default: the packaged bundle",
    )

    @field_validator("bundle", mode="before")
    @classmethod
    def _read_bundles(cls, value: Any) -> Any:
        """`FOLDER`, `NAME=FOLDER`, or several with commas between, as one text or as a list of them."""
        texts = [value] if isinstance(value, str | Path) else list(value)
        parts = [part for text in texts for part in (str(text).split(",") if _is_text(text) else [text])]
        return [_source(part) if isinstance(part, str) else part for part in parts]

    @field_validator("bundle")
    @classmethod
    def _names_differ(cls, bundles: tuple[BundleSource, ...]) -> tuple[BundleSource, ...]:
        names = [each.name for each in bundles if each.name is not None]
        if len(set(names)) < len(names):
            raise ValueError("two bundles have one name")
        return bundles


class VideoSettings(Group):
    """Bounds of one video, and how the pipeline works on it."""

    max_duration: float = Field(default=4 * 3600, gt=0, description="longest video in seconds")
    max_frames: int = Field(default=1_000_000, gt=0, description="most frames of a video")
    max_pixels: int = Field(default=8192 * 4352, gt=0, description="most pixels of a frame")
    batch: int = Field(default=4, ge=1, le=256, description="frames of a video in one engine call at most")
    prefetch: int = Field(default=8, ge=1, le=256, description="frames decoded ahead at most")


class DecoderSettings(VideoSettings):
    """Bounds of one decoder process."""

    confinement: ConfinementMode = Field(
        default="best-effort",
        description="where videos are decoded. required: in fully confined processes, or the server does "
        "not start; best-effort: in processes confined as far as this system allows; off: in the server",
    )
    decoder_timeout: float = Field(default=30, gt=0, description="seconds a decoder may make no progress")
    decoder_memory: int | None = Field(
        default=None,
        ge=32 << 20,
        description="bytes of memory a decoder may use; default: 512 MiB and 64 B per pixel of max_pixels",
    )
    decoder_cpu_seconds: int = Field(
        default=12 * 3600, ge=1, description="seconds of processor time a decoder may use for one video"
    )


class EngineSettings(Group):
    """How engines are loaded, and how their calls are merged."""

    provider: ProviderName = Field(
        default="auto", description="what the engines run on; auto: the fastest available"
    )
    precision: PrecisionName = Field(
        default="auto",
        description="what the engines compute in; auto: the fastest that the bundle's report allows",
    )
    allow_cpu: bool = Field(
        default=False, description="run on the CPU if the chosen provider is not available"
    )
    engine_cache: Path | None = Field(
        default=None,
        description="folder of compiled engines; default: selsa/engines in the user's cache",
    )
    size: int = Field(
        default=0,
        ge=0,
        le=16384,
        description="long side of frames in pixels as the engines see them, at most the bundle's; 0: the "
        "bundle's. Smaller is faster and finds less",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="threads of an engine call; 0: the cores, shared out among engine_calls",
    )
    max_batch: int = Field(
        default=8, ge=1, le=256, description="frames of all videos in one engine call at most"
    )
    max_batch_wait: float = Field(
        default=0.005, ge=0, le=1, description="seconds an engine call waits for frames of other videos"
    )
    engine_calls: int = Field(default=2, ge=1, le=16, description="engine calls that run at once")


class ReplicaSettings(EngineSettings):
    """Frame engines on a cluster."""

    replicas: int = Field(default=1, ge=1, le=4096, description="frame engines on the cluster")
    max_replicas: int | None = Field(
        default=None, ge=1, le=4096, description="frame engines at most, by load; default: replicas"
    )
    replica_cpus: float = Field(
        default=1, ge=0, le=1024, description="cores of a frame engine; without threads, its threads too"
    )
    replica_gpus: float = Field(
        default=0, ge=0, le=16, description="GPUs of a frame engine; 0.5: two of them share one"
    )

    @model_validator(mode="after")
    def _replicas_are_in_order(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(f"max_replicas is {self.max_replicas}, less than replicas, {self.replicas}")
        return self


class ClusterSettings(ReplicaSettings):
    """The cluster."""

    cluster: bool = Field(
        default=False,
        description="run the frame engine on a Ray cluster; without address, on a new one on this machine "
        "that ends with the server",
    )
    address: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._\[\]:-]+:\d{1,5}$",
        description="HOST:PORT of the head of an existing Ray cluster; with cluster",
    )
    application: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="name of the application of engines that are deployed already, as by KubeRay; default: "
        "this server deploys them",
    )
    replica_start_timeout: float = Field(
        default=1800, gt=0, le=86400, description="seconds in which frame engines have to start"
    )
    sequence_engine: SequencePlace = Field(
        default="ingress",
        description="where the sequence engine runs: in this process, or with the frame engines",
    )
    object_store: int | None = Field(
        default=None,
        ge=80 << 20,
        description="bytes of shared memory for Ray's objects here; default: Ray's own",
    )

    @model_validator(mode="after")
    def _addresses_belong_to_a_cluster(self) -> Self:
        if self.address is not None and not self.cluster:
            raise ValueError("address is set without cluster")
        if self.application is not None and self.address is None:
            raise ValueError("application is set without the address of its cluster")
        return self


class AdmissionSettings(Group):
    """Bounds of the requests inside the server."""

    max_concurrent: int = Field(default=8, ge=1, le=64, description="videos in detection at once")
    max_queued: int = Field(default=32, ge=0, le=10_000, description="more requests that upload or wait")
    max_queue_seconds: float = Field(
        default=3600, gt=0, description="seconds of video that may wait, over all requests"
    )
    retry_after: int = Field(
        default=5, ge=1, description="seconds a client is asked to wait before the server knows its own speed"
    )


class ModelSettings(Group):
    """Models that are loaded while the server runs."""

    bundle_dir: Path | None = Field(
        default=None,
        description="folder of the bundles that PUT /v1/models/NAME may load; default: no bundle may be "
        "loaded",
    )
    max_models: int = Field(default=16, ge=1, le=1000, description="models at once, loaded over HTTP or not")


class RequestSettings(UploadSettings):
    """Bounds of one detection request."""

    request_deadline: float | None = Field(
        default=None, gt=0, description="seconds a request may take, upload included; default: no bound"
    )
    send_timeout: float = Field(
        default=30, gt=0, description="seconds a client may read nothing of its response"
    )


class JobSettings(RemoteSettings):
    """Jobs."""

    jobs_dir: Path | None = Field(
        default=None, description="folder of the jobs; default: selsa-jobs in the spool folder"
    )
    jobs_concurrent: int = Field(default=1, ge=1, le=64, description="jobs that run at once")
    jobs_max_queued: int = Field(default=100, ge=1, le=100_000, description="jobs that may wait")
    jobs_max_bytes: int = Field(default=20 << 30, gt=0, description="bytes of all jobs' videos and results")
    jobs_ttl: float = Field(default=24 * 3600, gt=0, description="seconds until an ended job is deleted")
    jobs_database: SecretStr | None = Field(
        default=None,
        description="address postgresql://... of the database of jobs that several servers share; "
        "default: SQLite in jobs_dir",
    )
    jobs_files: str | None = Field(
        default=None,
        min_length=1,
        description="fsspec address (a folder, s3://BUCKET/PREFIX) of videos and results of jobs that "
        "several servers share; with jobs_database",
    )
    jobs_lease: float = Field(
        default=30,
        ge=1,
        le=3600,
        description="seconds without a heartbeat after which other servers take over a server's jobs",
    )

    @property
    def shared(self) -> bool:
        """Whether several servers share the jobs."""
        return self.jobs_database is not None

    @model_validator(mode="after")
    def _jobs_are_shared_wholly(self) -> Self:
        if (self.jobs_database is None) != (self.jobs_files is None):
            raise ValueError("jobs_database and jobs_files go together: servers share both or none")
        return self


class StreamSettings(Group):
    """Live streams."""

    max_streams: int = Field(default=4, ge=0, le=1024, description="live streams at once")
    stream_timeout: float = Field(
        default=30, gt=0, description="seconds a live stream's client may send nothing or read no record"
    )
    max_message_bytes: int = Field(
        default=4 << 20, ge=1024, le=16 << 20, description="bytes of a live stream's message"
    )


class ConnectionSettings(Group):
    """Connections, and who may use them."""

    header_timeout: float = Field(
        default=10, gt=0, description="seconds in which the head of a request must arrive"
    )
    max_connections: int = Field(
        default=1000,
        ge=1,
        description="connections at once; fewer if the system's limit on open files is lower",
    )
    allowed_hosts: Annotated[tuple[HostName, ...], NoDecode] = Field(
        default=(),
        description="more host names that requests may address, *.NAME for all below NAME, * for any; "
        "localhost names and the address of host are always allowed",
    )
    cors_origins: Annotated[tuple[Origin, ...], NoDecode] = Field(
        default=(),
        description="origins (https://HOST[:PORT]) whose pages may use this server; default: its own page",
    )
    root_path: str = Field(
        default="",
        pattern=PREFIX_PATTERN,
        description="path below which a proxy serves this server, such as /selsa; the proxy removes it",
    )
    forwarded_prefix: bool = Field(
        default=False,
        description="take that path from X-Forwarded-Prefix; only behind a proxy that sets or removes it",
    )

    @field_validator("allowed_hosts", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return split_at_commas(value)


class ProcessSettings(ConnectionSettings):
    """The server process."""

    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    drain_timeout: float = Field(
        default=30, ge=0, description="seconds that running requests have to finish after SIGTERM"
    )
    api_keys_file: Path | None = Field(
        default=None, description="file of API keys, one per line; default: no key is needed"
    )
    log_level: LogLevel = Field(default="info", description="least severe message that is logged")
    log_format: LogFormat = Field(
        default="auto", description="auto: text on a terminal, otherwise JSON, one object per line"
    )
    otlp_endpoint: str | None = Field(
        default_factory=lambda: os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None,
        description="address of an OpenTelemetry collector for traces, such as http://localhost:4318; "
        "default: OTEL_EXPORTER_OTLP_ENDPOINT, or no tracing",
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_a_plain_address(cls, endpoint: str | None) -> str | None:
        # No password: settings are logged.
        if endpoint is not None and not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", endpoint):
            raise ValueError(
                "allowed is http://HOST:PORT or https://HOST:PORT; a password belongs into "
                "OTEL_EXPORTER_OTLP_HEADERS"
            )
        return endpoint


class ServerSettings(
    ProcessSettings,
    StreamSettings,
    JobSettings,
    RequestSettings,
    ModelSettings,
    AdmissionSettings,
    ClusterSettings,
    DecoderSettings,
    BundleSettings,
):
    """Settings of one server; each is also the environment variable SELSA_ + its name."""


def _is_text(value: object) -> bool:
    return isinstance(value, str | Path)


def _source(text: str) -> BundleSource:
    text = text.strip()
    before, equals, after = text.partition("=")
    # An address may have `=` in its query or checksum.
    named = bool(equals) and not is_address(before)
    place = after if named else text
    # A Path would make one slash of two.
    address = place if is_address(place) else None
    return BundleSource(
        name=before if named else None, path=Path() if address else Path(place), address=address
    )
