"""The floating-point types of graphs."""

from typing import Final, Literal

import torch

FloatPrecision = Literal["fp32", "fp16"]
TYPES: Final[dict[FloatPrecision, torch.dtype]] = {"fp32": torch.float32, "fp16": torch.float16}
