"""Mixed precision: the type that the network computes in, and the loss scale against underflow."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Amp = Literal["off", "bf16", "fp16"]


def autocast_for(amp: Amp, device: torch.device) -> Callable[[], AbstractContextManager[None]]:
    """Factory of the context that the network runs in."""
    if amp == "off":
        return nullcontext
    dtype = torch.bfloat16 if amp == "bf16" else torch.float16
    return lambda: torch.autocast(device.type, dtype=dtype)


def loss_scale_for(amp: Amp, scale: float) -> float:
    """Factor of the loss. Bfloat16 has the range of float32 and needs no scale."""
    return scale if amp == "fp16" else 1.0
