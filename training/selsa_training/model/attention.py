"""Masked multi-head attention."""

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def multi_head_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Softmax over rows of query . key / sqrt(channels of a head), per head; then the weighted values.

    Args:
        query: float [B, P, C]; head h has channels h*C/heads to (h+1)*C/heads.
        key: float [B, L, C].
        value: float [B, L, C].
        mask: bool [B, 1, P, L], true where a row may be attended to; at least one in every row of P.
        heads: how many heads; divides C.

    Returns:
        float [B, P, C], heads concatenated.
    """
    q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (query, key, value))
    gathered = scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return gathered.transpose(1, 2).reshape(query.shape)
