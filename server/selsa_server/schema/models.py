"""The wire format of `/v1/models`: which models there are and how they are."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from selsa_server.schema.detect import Problem

# That of a manifest's name.
MODEL_NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

ModelState = Literal["loading", "ready", "unloading", "failed"]


class LoadModel(BaseModel):
    """What to load."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, Field(min_length=1, max_length=259)] = Field(
        description="the bundle's folder, relative to the server's `bundle_dir`"
    )


class ModelStatus(BaseModel):
    """One name and what is behind it."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="what `model` must be to ask for it")
    state: ModelState = Field(
        description="ready: takes requests. loading: not yet. unloading: takes none any more, those inside "
        "finish. failed: could not be loaded, `error` says why"
    )
    default: bool = Field(description="whether it is the model of requests that name none")
    replacing: bool = Field(
        description="whether another bundle is being loaded under the name of a model that is ready; until "
        "then requests go to the one there is"
    )
    requests: int = Field(
        description="requests, running jobs and streams inside, those of a replaced bundle included"
    )
    bundle: str | None = Field(description="sha256: and the digest of the bundle; null until it is loaded")
    classes: int | None = Field(description="how many classes it has")
    provider: str | None = Field(description="what its engines run on")
    precision: str | None = Field(default=None, description="what they compute in")
    error: Problem | None = Field(description="why the latest load under this name failed")
