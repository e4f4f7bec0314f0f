"""The tensor contract: names, types and shapes of the two engines' inputs and outputs.

Symbols: B frames, H and W padded height and width, R reference frames times proposals (rows of the bank),
P proposals, C feature width, S aggregation stages, D detections. B, H, W and R are dynamic; the others are
fixed by the bundle.
"""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

EngineName = Literal["frame", "sequence"]
Dtype = Literal["uint8", "int64", "bool", "float32"]
DTYPES: Final[tuple[Dtype, ...]] = ("uint8", "int64", "bool", "float32")


class TensorSpec(BaseModel):
    """One input or output: its ONNX name, element type and shape (a string is a dynamic dimension)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dtype: Dtype
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        """As in the contract's table: `boxes float32 [B, 300, 4]`."""
        return f"{self.name} {self.dtype} [{', '.join(map(str, self.shape))}]"


class Dimensions(BaseModel):
    """The fixed dimensions of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    proposals: int = Field(gt=0, le=4096, description="P: proposals per frame, padded")
    width: int = Field(gt=0, le=16384, description="C: feature width of a query, key or value")
    stages: int = Field(gt=0, le=16, description="S: aggregation stages")
    detections: int = Field(gt=0, le=4096, description="D: detections per frame at most")


class EngineContract(BaseModel):
    """Inputs and outputs of one engine, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def contract_for(engine: EngineName, dims: Dimensions) -> EngineContract:
    """The tensor contract of an engine of a bundle with these dimensions."""

    def spec(name: str, dtype: Dtype, *shape: int | str) -> TensorSpec:
        return TensorSpec(name=name, dtype=dtype, shape=shape)

    p, c, s, d = dims.proposals, dims.width, dims.stages, dims.detections
    image_size = spec("image_size", "int64", "B", 2)
    per_frame = (
        spec("boxes", "float32", "B", p, 4),
        spec("valid", "bool", "B", p),
        spec("queries", "float32", "B", p, c),
        spec("memory", "float32", "B", s, 2, p, c),
    )
    if engine == "frame":
        return EngineContract(
            inputs=(spec("frames", "uint8", "B", "H", "W", 3), image_size), outputs=per_frame
        )
    return EngineContract(
        inputs=(
            *per_frame,
            image_size,
            spec("scale_factor", "float32", "B", 2),
            spec("bank", "float32", s, 2, "R", c),
            spec("bank_valid", "bool", "R"),
        ),
        outputs=(
            spec("detections", "float32", "B", d, 4),
            spec("scores", "float32", "B", d),
            spec("labels", "int64", "B", d),
            spec("count", "int64", "B"),
        ),
    )
