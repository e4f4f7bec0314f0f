"""The tensor contract: names, types and shapes of the two engines' inputs and outputs.

Letters: B frames, H and W padded height and width, R rows of the reference bank (reference frames times
proposals that a reference keeps), D detections, P proposals; the others are described at `Dimensions`.
B, H, W and R are dynamic; the others are fixed by the bundle.
"""

from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from selsa_bundle.family import FAMILIES, PUBLISHED, Family, FamilyName, Shape

EngineName = Literal["frame", "sequence"]
ENGINES: Final[tuple[EngineName, ...]] = ("frame", "sequence")
Dtype = Literal["uint8", "int64", "bool", "float32"]
DTYPES: Final[tuple[Dtype, ...]] = ("uint8", "int64", "bool", "float32")
BANK_VALID: Final = "bank_valid"


class TensorSpec(BaseModel):
    """One input or output: its ONNX name, element type and shape (a string is a dynamic dimension)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dtype: Dtype
    shape: Shape

    def __str__(self) -> str:
        """As in the contract's table: `boxes float32 [B, 300, 4]`."""
        return f"{self.name} {self.dtype} [{', '.join(map(str, self.shape))}]"


# Letters of shapes, and the fields of `Dimensions` that hold their sizes.
LETTERS: Final = {
    "P": "proposals",
    "C": "width",
    "S": "stages",
    "D": "detections",
    "N": "classes",
    "A": "heads",
    "K": "key_width",
}


class Dimensions(BaseModel):
    """The family of a bundle's model and the fixed dimensions of its tensors.

    A family has the sizes that its features need and no others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    proposals: int = Field(gt=0, le=4096, description="P: proposals per frame, padded")
    width: int | None = Field(default=None, gt=0, le=16384, description="C: width of a proposal's feature")
    stages: int | None = Field(default=None, gt=0, le=16, description="S: aggregation stages")
    detections: int = Field(gt=0, le=4096, description="D: detections per frame at most")
    classes: int | None = Field(default=None, gt=0, le=10000, description="N: logits of a proposal")
    heads: int | None = Field(default=None, gt=0, le=64, description="A: attention heads")
    key_width: int | None = Field(default=None, gt=0, le=16384, description="K: width of a key")
    bank_proposals: int | None = Field(
        default=None,
        gt=0,
        description="number of proposals of a reference frame that enter the bank; none: all of them",
    )
    # Not written if false, so that manifests and digests of older bundles do not change.
    names_proposals: bool = Field(
        default=False,
        exclude_if=lambda names: not names,
        description="whether the sequence engine outputs the proposal that each detection came from",
    )
    # Not written for the published family, for the same reason.
    family: FamilyName = Field(default=PUBLISHED, exclude_if=lambda name: name == PUBLISHED)

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        needed = {LETTERS[letter] for letter in self.tensors.letters} | {"proposals", "detections"}
        for name in LETTERS.values():
            if (getattr(self, name) is not None) != (name in needed):
                wrong = "missing" if name in needed else "given"
                raise ValueError(f"{name} is {wrong}; {self.family} has {', '.join(sorted(needed))}")
        if self.bank_rows > self.proposals:
            raise ValueError(f"bank_proposals is {self.bank_rows}; at most {self.proposals} (proposals)")
        return self

    @property
    def tensors(self) -> Family:
        """The tensors that the engines of the family exchange."""
        return FAMILIES[self.family]

    @property
    def bank_rows(self) -> int:
        """Rows of the bank that one reference frame fills."""
        return self.bank_proposals or self.proposals

    def sized(self, shape: Shape) -> Shape:
        """A shape with the sizes of fixed dimensions in place of their letters; dynamic letters stay."""
        return tuple(
            getattr(self, LETTERS[size]) if isinstance(size, str) and size in LETTERS else size
            for size in shape
        )


class EngineContract(BaseModel):
    """Inputs and outputs of one engine, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def contract_for(engine: EngineName, dims: Dimensions) -> EngineContract:
    """The tensor contract of an engine of a bundle with these dimensions."""

    def spec(name: str, dtype: Dtype, *shape: int | str) -> TensorSpec:
        return TensorSpec(name=name, dtype=dtype, shape=dims.sized(shape))

    family = dims.tensors
    proposals = (spec("boxes", "float32", "B", "P", 4), spec("valid", "bool", "B", "P"))
    image_size = spec("image_size", "int64", "B", 2)
    if engine == "frame":
        return EngineContract(
            inputs=(spec("frames", "uint8", "B", "H", "W", 3), image_size),
            outputs=(*proposals, *(spec(f.name, "float32", *f.shape) for f in family.features)),
        )
    return EngineContract(
        inputs=(
            *proposals,
            *(spec(f.name, "float32", *f.shape) for f in family.key_features),
            image_size,
            spec("scale_factor", "float32", "B", 2),
            *(spec(f.bank or "", "float32", *f.bank_shape) for f in family.bank_features),
            spec(BANK_VALID, "bool", "R"),
        ),
        outputs=(
            spec("detections", "float32", "B", "D", 4),
            spec("scores", "float32", "B", "D"),
            spec("labels", "int64", "B", "D"),
            spec("count", "int64", "B"),
            *((spec("proposals", "int64", "B", "D"),) if dims.names_proposals else ()),
        ),
    )
