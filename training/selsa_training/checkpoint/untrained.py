"""Untrained weights, the same on every machine.

Their detections have no meaning. They allow exactness tests against the published code's outputs,
measurements and trials without a trained model. Activations stay near unit size, and a few tens of boxes per
frame score above 0.05.

Every tensor has its own random stream, seeded with crc32(published name) + seed. So its values depend neither
on the order nor on the presence of other tensors. Only the raw 64-bit words of numpy's generator are used;
numpy guarantees that they never change. The arithmetic uses integers except for the last step, which is one
float32 multiplication and, for some tensors, one addition. So every IEEE 754 machine gets the same bits.
"""

import math
import re
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from selsa_training.checkpoint.names import published_name
from selsa_training.config import ModelConfig
from selsa_training.model.tensor_shapes import RESNETS, Shape, expected_shapes, is_counter

Float32 = npt.NDArray[np.float32]

# How the origin of such a checkpoint begins.
UNTRAINED: Final = "untrained weights"
# Standard deviation of the sum of four independent uniform 16-bit integers.
SUM_STD: Final = math.sqrt(4 * (65536.0**2 - 1) / 12)
# Range of the last scale of a residual branch. It is small, so that the sum over many blocks does not grow.
RESIDUAL_SCALE: Final = {"bottleneck": (0.3, 0.5), "basic": (0.5, 0.8)}
# Added to the background's logit; without it every proposal would be a detection.
BACKGROUND_BIAS: Final = 9.0
BLOCK: Final = re.compile(r"backbone\.layer(\d)\.\d+\.(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """Near-normal values.

    Attributes:
        std: standard deviation.
        mean: added at the end, in float32.
        zero_sum: axes over which the values sum to zero, so that the layer ignores a constant input.
        view: shape that `zero_sum` refers to; None: the tensor's shape.
    """

    std: float
    mean: float | None = None
    zero_sum: tuple[int, ...] = ()
    view: Shape | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Values between `low` and `high`."""

    low: float
    high: float


def untrained_tensors(config: ModelConfig, seed: int) -> dict[str, torch.Tensor]:
    """All tensors of the model of this configuration: name -> float32 (counters: int64 zeros).

    Args:
        seed: not negative; the same seed gives the same bits.

    Raises:
        ValueError: the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    return {name: _tensor(name, shape, config, seed) for name, shape in expected_shapes(config).items()}


def _tensor(name: str, shape: Shape, config: ModelConfig, seed: int) -> torch.Tensor:
    if is_counter(name):
        return torch.zeros(shape, dtype=torch.int64)
    recipe = _recipe(name, shape, config)
    words = _words(published_name(name), seed, math.prod(shape))
    values = _uniform(words, recipe) if isinstance(recipe, Uniform) else _normal(words, recipe, shape)
    values = np.ascontiguousarray(values.reshape(shape))
    if name == "predictor.classes.bias":
        values[-1] += np.float32(BACKGROUND_BIAS)
    return torch.from_numpy(values)


def _recipe(name: str, shape: Shape, config: ModelConfig) -> Normal | Uniform:
    """The distribution of a tensor, chosen by its name."""
    part, _, _ = name.partition(".")
    if part == "backbone":
        return _backbone_recipe(name, shape, config)
    if name.endswith(".bias"):
        return _bias_recipe(name)
    if name in ("neck.conv.weight", "rpn.conv.weight"):
        return Normal(std=_std(shape, 2.0), zero_sum=(2, 3))
    if ".attention." in name:
        return Normal(std=_std(shape, 1.0))
    if name == "head.stages.0.fc.weight":
        # One channel's 7 x 7 values sum to zero, not one output's.
        area = config.head.roi_size**2
        return Normal(std=_std(shape, 2.0), zero_sum=(2,), view=(shape[0], shape[1] // area, area))
    gains = {"rpn.objectness": 2.0, "rpn.deltas": 0.25, "predictor.classes": 2.6, "predictor.deltas": 0.6}
    gain = gains.get(name.removesuffix(".weight"))
    std = _std(shape, 2.0) if gain is None else gain * _std(shape, 1.0)
    return Normal(std=std, zero_sum=(1,))


def _bias_recipe(name: str) -> Normal:
    if name == "rpn.objectness.bias":
        return Normal(std=0.3, mean=-1.0)
    return Normal(std=0.02 if name == "rpn.deltas.bias" else 0.05)


def _backbone_recipe(name: str, shape: Shape, config: ModelConfig) -> Normal | Uniform:
    if len(shape) == 4:
        return Normal(std=_std(shape, 1.0 if ".downsample." in name else 2.0))
    leaf = name.rpartition(".")[2]
    if leaf == "running_var":
        return Uniform(low=0.5, high=1.5)
    if leaf != "weight":
        return Normal(std=0.1)
    plan = RESNETS[config.backbone]
    block = BLOCK.fullmatch(name)
    if block is None or block[2] != ("bn3.weight" if plan.bottleneck else "bn2.weight"):
        return Uniform(low=0.8, high=1.2)
    # A stage with more blocks gets smaller scales, so that every stage grows by the same factor.
    shrink = math.sqrt(min(1.0, 6 / plan.blocks[int(block[1]) - 1]))
    low, high = RESIDUAL_SCALE["bottleneck" if plan.bottleneck else "basic"]
    return Uniform(low=low * shrink, high=high * shrink)


def _std(shape: Shape, gain: float) -> float:
    """He initialisation: sqrt(gain / inputs)."""
    return math.sqrt(gain / math.prod(shape[1:]))


def _words(key: str, seed: int, count: int) -> npt.NDArray[np.uint64]:
    generator = np.random.PCG64(zlib.crc32(key.encode()) + seed)
    return np.asarray(generator.random_raw(count), dtype=np.uint64)


def _uniform(words: npt.NDArray[np.uint64], recipe: Uniform) -> Float32:
    """The highest 16 bits of every word, spread over the range."""
    step = np.float32((recipe.high - recipe.low) / 65536.0)
    return (words >> np.uint64(48)).astype(np.float32) * step + np.float32(recipe.low)


def _normal(words: npt.NDArray[np.uint64], recipe: Normal, shape: Shape) -> Float32:
    """Sums of the four 16-bit quarters of every word, centred and scaled."""
    sums = (words & np.uint64(0xFFFF)).astype(np.int64)
    for bits in (16, 32, 48):
        sums += ((words >> np.uint64(bits)) & np.uint64(0xFFFF)).astype(np.int64)
    sums -= 2 * 0xFFFF
    scale = SUM_STD
    if recipe.zero_sum:
        sums, factor = _without_mean(sums.reshape(recipe.view or shape), recipe.zero_sum)
        scale = SUM_STD * factor
    values = sums.astype(np.float32) * np.float32(recipe.std / scale)
    return values if recipe.mean is None else values + np.float32(recipe.mean)


def _without_mean(
    values: npt.NDArray[np.int64], axes: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], float]:
    """`values` minus their mean over `axes`, times a factor that keeps them integers; and that factor.

    The factor is the number of averaged values, halved until the results fit into the 24 bits that float32
    holds exactly.
    """
    count = math.prod(values.shape[axis] for axis in axes)
    centred = values * count - values.sum(axis=axes, keepdims=True)
    shift = max(0, int(np.abs(centred).max()).bit_length() - 23)
    return centred >> shift, count / 2.0**shift
