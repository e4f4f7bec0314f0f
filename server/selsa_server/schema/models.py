"""The wire format of `/v1/models`: the models and their states."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from selsa_server.schema.detect import Problem

# That of a manifest's name.
MODEL_NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

ModelState = Literal["loading", "ready", "unloading", "failed"]


class LoadModel(BaseModel):
    """The body of `PUT /v1/models/{name}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, Field(min_length=1, max_length=259)] = Field(
        description="the bundle's folder, relative to the server's `bundle_dir`"
    )


class ModelStatus(BaseModel):
    """The model behind one name."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="the value of `model` that selects it")
    state: ModelState = Field(
        description="ready: accepts requests. loading: not yet. unloading: accepts none, running ones "
        "finish. failed: could not be loaded, `error` says why"
    )
    default: bool = Field(description="whether it is the model of requests that name none")
    replacing: bool = Field(
        description="whether another bundle is being loaded to replace this ready model, which serves "
        "until then"
    )
    requests: int = Field(
        description="requests, running jobs and streams, those on a replaced bundle included"
    )
    bundle: str | None = Field(description="sha256: and the digest of the bundle; null until it is loaded")
    classes: int | None = Field(description="how many classes it has")
    provider: str | None = Field(description="what its engines run on")
    precision: str | None = Field(default=None, description="what they compute in")
    error: Problem | None = Field(description="why the latest load under this name failed")
