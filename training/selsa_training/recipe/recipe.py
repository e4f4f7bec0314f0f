"""The settings of a training. The defaults are the published recipe."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from selsa_training.config import CONFIGS, ModelConfig

Count = Annotated[int, Field(ge=0, le=10**9)]
Positive = Annotated[int, Field(gt=0, le=10**9)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=100)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SamplingRecipe(_Part):
    """The frames of a training sample; see `selsa_training.data.sampling.ReferenceSampling`.

    `key_frames`: `first` computes losses for the first frame, which attends to the others (published). `all`
    computes losses for every frame, and each attends to all frames.
    """

    references: Literal["bilateral_uniform", "whole_clip"] = "bilateral_uniform"
    count: Annotated[int, Field(ge=0, le=64)] = 2
    window: Positive = 9
    flip: Share = 0.5
    key_frames: Literal["first", "all"] = "first"

    @model_validator(mode="after")
    def _check_count(self) -> "SamplingRecipe":
        if self.references == "bilateral_uniform" and self.count % 2:
            raise ValueError(f"bilateral_uniform takes an even number of reference frames, not {self.count}")
        return self


class AugmentationRecipe(_Part):
    """Random changes of whole samples; see `selsa_training.data.transforms.Augmentation`. Published: none."""

    scale: Annotated[float, Field(ge=0, le=2)] = 0.0
    colour: Annotated[float, Field(ge=0, le=0.9)] = 0.0


# The default of `selsa train --from` for recipes without augmentation.
FINE_TUNING: Final = AugmentationRecipe(scale=0.3, colour=0.2)


class MatchingRecipe(_Part):
    """IoU thresholds: at least `positive` is an object, below `negative` is background.

    The best boxes of an object need only `least`.
    """

    positive: Share
    negative: Share
    least: Share

    @model_validator(mode="after")
    def _check_thresholds(self) -> "MatchingRecipe":
        if self.negative > self.positive:
            raise ValueError(f"negative {self.negative} is above positive {self.positive}")
        return self


class RpnRecipe(_Part):
    """The region proposal network's losses, and its proposals for the head."""

    matching: MatchingRecipe = MatchingRecipe(positive=0.7, negative=0.3, least=0.3)
    samples: Positive = 256
    positive_share: Share = 0.5
    beta: Rate = 1 / 9
    # Proposals of a key frame. Reference frames have the same number as at test time.
    proposals: Positive = 600


class HeadRecipe(_Part):
    """The box head's losses.

    `samples` 0: learn from all proposals. `jitter`: number of copies of every true box that are added to the
    proposals, moved and scaled by up to `jitter_reach` of its size.
    """

    matching: MatchingRecipe = MatchingRecipe(positive=0.5, negative=0.5, least=0.5)
    samples: Count = 256
    positive_share: Share = 0.25
    beta: Rate = 1.0
    jitter: Annotated[int, Field(ge=0, le=64)] = 0
    jitter_reach: Annotated[float, Field(ge=0, lt=1)] = 0.2


class BackboneRecipe(_Part):
    """The backbone's initial weights, and which of them stay fixed.

    `pretrained` names weights of timm (downloaded by timm), or "" for none. `frozen_stages` counts the stem
    and stage 1 as one. `frozen_norm`: BatchNorm uses its stored statistics.
    """

    pretrained: Annotated[str, Field(max_length=200)] = "auto"
    frozen_stages: Annotated[int, Field(ge=0, le=4)] = 1
    frozen_norm: bool = True


class OptimiserRecipe(_Part):
    """SGD with momentum or AdamW.

    `fan_in`: 0, or a number of inputs. A layer outside the backbone with more inputs gets a proportionally
    lower rate. AdamW moves all weights equally far, so a rate that is right for a layer with a few hundred
    inputs is too high for a layer with six thousand inputs and no norm. `clip`: largest norm of the gradient,
    0: no limit. `average`: decay of the moving average of weights that is saved and evaluated, 0: no average.
    """

    method: Literal["sgd", "adamw"] = "sgd"
    rate: Rate = 0.01
    fan_in: Count = 0
    momentum: Share = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-4
    # The published recipe also decays norms and biases.
    decay_all: bool = True
    clip: Annotated[float, Field(ge=0)] = 35.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0


class ScheduleRecipe(_Part):
    """Length of the training, and the learning rate over time.

    `steps`: steps of the whole training; 0: use `epochs`. `drops`: epochs after which the rate is divided by
    ten. With `shape` cosine the rate falls to zero instead. In the first `warm_up` steps the rate rises
    linearly from the share `warm_up_from`.
    """

    epochs: Positive = 7
    steps: Count = 0
    shape: Literal["steps", "cosine"] = "steps"
    drops: tuple[Positive, ...] = (2, 5)
    warm_up: Count = 500
    warm_up_from: Share = 1 / 3


class PretrainingRecipe(_Part):
    """Before detection, the backbone learns to classify crops of the objects. `steps` 0: no pretraining."""

    steps: Count = 0
    batch: Positive = 128
    crop: Annotated[int, Field(ge=32, le=1024, multiple_of=16)] = 64
    rate: Rate = 2e-3
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.05


class Recipe(_Part):
    """All settings of a training run, except for its data.

    `batch` is the samples of one process in one forward pass; the published recipe has one on each of eight
    GPUs. `accumulate` passes make one step: `accumulate = 8` gives the published step on one GPU.
    """

    model: ModelConfig
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    batch: Positive = 1
    accumulate: Annotated[int, Field(ge=1, le=1024)] = 1
    sampling: SamplingRecipe = SamplingRecipe()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    backbone: BackboneRecipe = BackboneRecipe()
    rpn: RpnRecipe = RpnRecipe()
    head: HeadRecipe = HeadRecipe()
    optimiser: OptimiserRecipe = OptimiserRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    pretraining: PretrainingRecipe = PretrainingRecipe()
    # Constant, used for float16 only. The value is that of the published FP16 recipe.
    loss_scale: Annotated[float, Field(gt=0, le=2**24)] = 512.0

    @model_validator(mode="before")
    @classmethod
    def _named_model(cls, content: Any) -> Any:
        """`model = "r50-dc5"`, or a table with `base` and what differs from it."""
        if not isinstance(content, dict) or "model" not in content:
            return content
        model = content["model"]
        table = {"base": model} if isinstance(model, str) else model
        if isinstance(table, dict) and "base" in table:
            table = dict(table)
            base = table.pop("base")
            if base not in CONFIGS:
                raise ValueError(f"model {base!r} is not known; known are {', '.join(CONFIGS)}")
            content = {**content, "model": merged(CONFIGS[base].model_dump(), table)}
        return content


def merged(base: Any, over: Any) -> Any:
    """Tables merge key by key; anything else replaces."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}
    if isinstance(base, str) and isinstance(over, dict):
        # `model = "tiny"` and an override of `model.head.width`.
        return {"base": base, **over}
    return over
