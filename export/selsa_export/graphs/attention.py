"""Attention over two memories under one softmax, in the form that the graphs are written from.

The memory of the key frame's own proposals and the bank are never put together: the bank is the same for all
key frames of a batch, and putting it beside each one's own memory would copy it for each.
"""

import torch
from torch import Tensor

# Added to the logits of rows that are no proposals: nothing is left of them beside any other.
MASKED = -1e30


def mask_bias(valid: Tensor) -> Tensor:
    """What is added to logits: float32, 0 where a row is a proposal."""
    return torch.where(valid, 0.0, MASKED)


def attend(
    query: Tensor,
    own: tuple[Tensor, Tensor],
    bank: tuple[Tensor, Tensor],
    bias: tuple[Tensor, Tensor],
    heads: int,
) -> Tensor:
    """One softmax over two memories, side by side.

    Args:
        query: [B, P, C].
        own: keys and values of the key frames' own proposals, each [B, P, C].
        bank: keys and values of the reference frames' proposals, each [1, R, C], for all B.
        bias: float32 [B, 1, 1, P] and [R], from `mask_bias`.
        heads: how many heads; divides C.

    Returns:
        [B, P, C], heads concatenated.
    """
    batch, count, width = query.shape
    size = width // heads
    q = (query * size**-0.5).reshape(batch, count, heads, size).transpose(1, 2)
    memories = (_by_head(*own, heads), _by_head(*bank, heads))
    logits = [torch.matmul(q, key).float() + each for (key, _), each in zip(memories, bias, strict=True)]
    highest = torch.maximum(*(x.amax(-1, keepdim=True) for x in logits))
    weights = [(x - highest).exp() for x in logits]
    total = weights[0].sum(-1, keepdim=True) + weights[1].sum(-1, keepdim=True)
    exact = q.dtype == torch.float32
    # Dividing what comes out is cheaper; but in half precision what comes out undivided may be too large.
    shares = weights if exact else [(x / total).to(q.dtype) for x in weights]
    parts = [torch.matmul(x, value) for x, (_, value) in zip(shares, memories, strict=True)]
    gathered = (parts[0] + parts[1]) / total if exact else parts[0] + parts[1]
    return gathered.transpose(1, 2).reshape(batch, count, width)


def _by_head(key: Tensor, value: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """[B, L, C] each -> [B, heads, C / heads, L] and [B, heads, L, C / heads]."""
    batch, rows, width = key.shape
    key, value = (x.reshape(batch, rows, heads, width // heads) for x in (key, value))
    return key.permute(0, 2, 3, 1), value.transpose(1, 2)
