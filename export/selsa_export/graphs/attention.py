"""Attention over two memories with one softmax, in the form that the graphs are written from.

The memory of the key frame's own proposals and the bank are never concatenated. All key frames of a batch
share the bank, and concatenation would copy it once per key frame.
"""

import torch
from torch import Tensor

# Added to the logits of padding rows; the softmax gives them weight 0 if any other row exists.
MASKED = -1e30


def mask_bias(valid: Tensor) -> Tensor:
    """The bias to add to logits: float32, 0 where a row is a proposal, `MASKED` elsewhere."""
    return torch.where(valid, 0.0, MASKED)


def attend(
    query: Tensor,
    own: tuple[Tensor, Tensor],
    bank: tuple[Tensor, Tensor],
    bias: tuple[Tensor, Tensor],
    heads: int,
) -> Tensor:
    """Attention of `query` over both memories, with one softmax.

    Args:
        query: [B, P, C].
        own: keys and values of the key frames' own proposals, each [B, P, C].
        bank: keys and values of the reference frames' proposals, each [1, R, C], for all B.
        bias: float32 [B, 1, 1, P] and [R], from `mask_bias`.
        heads: number of heads; divides C.

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
    # Dividing the result is cheaper. In half precision the undivided result could overflow, so divide the
    # weights.
    shares = weights if exact else [(x / total).to(q.dtype) for x in weights]
    parts = [torch.matmul(x, value) for x, (_, value) in zip(shares, memories, strict=True)]
    gathered = (parts[0] + parts[1]) / total if exact else parts[0] + parts[1]
    return gathered.transpose(1, 2).reshape(batch, count, width)


def _by_head(key: Tensor, value: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """[B, L, C] each -> [B, heads, C / heads, L] and [B, heads, L, C / heads]."""
    batch, rows, width = key.shape
    key, value = (x.reshape(batch, rows, heads, width // heads) for x in (key, value))
    return key.permute(0, 2, 3, 1), value.transpose(1, 2)
