"""The SELSA stage of the everyday model: mixes logits of other frames into the logits of an object.

The attention's values are the frozen detector's logits, so the stage learns how much to use other frames, and
nothing about classes. Before training the gate is closed: the detections are exactly the frozen detector's.
Shape legend: B key frames, P proposals of one, R rows of the bank, H heads, K classes, C features.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from selsa_training.everyday.config import GateConfig
from selsa_training.everyday.nanodet import FEATURES

# Added to the attention's logits of padded rows.
MASKED: Final = -1e30
# Logits are divided by this before the gate, so that they are of the size of its other inputs.
LOGIT_SCALE: Final = 5.0
TEMPERATURE: Final = 2.3
LARGEST_BETA: Final = 0.6


class Rows(NamedTuple):
    """Proposals that are attended to.

    Attributes:
        keys: float32 [B or 1, H, N, head width], of length 1.
        logits: float32 [B or 1, N, K].
        valid: bool [B or 1, N].
    """

    keys: Tensor
    logits: Tensor
    valid: Tensor


class PointFeatures(nn.Module):
    """Standardised features of a point: LayerNorm((p - mean) / std) with fixed mean and std."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("std", torch.ones(FEATURES))

    def forward(self, features: Tensor) -> Tensor:
        """[B, P, C] -> [B, P, C]."""
        return functional.layer_norm((features - self.mean) / self.std, (FEATURES,))


class Projection(nn.Module):
    """Queries or keys: a linear map; each head's part is scaled to length 1."""

    def __init__(self, config: GateConfig) -> None:
        super().__init__()
        self.heads, self.width = config.heads, config.head_width
        self.linear = nn.Linear(FEATURES, self.heads * self.width)

    def forward(self, features: Tensor) -> Tensor:
        """[B, P, C] -> [B, H, P, head width]."""
        batch, count, _ = features.shape
        x = self.linear(features).reshape(batch, count, self.heads, self.width).transpose(1, 2)
        unit: Tensor = functional.normalize(x, dim=-1)
        return unit


class SelsaStage(nn.Module):
    """Attention over the bank and the frame's own proposals, and the gate."""

    def __init__(self, config: GateConfig) -> None:
        super().__init__()
        self.config = config
        self.query = Projection(config)
        self.summary = nn.Linear(FEATURES, config.summary)
        self.temperature = nn.Parameter(torch.full((config.heads,), TEMPERATURE))
        self.beta = nn.Parameter(torch.linspace(0.0, LARGEST_BETA, config.heads))
        inputs = 3 + 4 * config.heads + config.summary
        self.hidden = nn.Linear(inputs, config.hidden)
        self.gate = nn.Linear(config.hidden, config.heads + 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, features: Tensor, own: Rows, bank: Rows) -> Tensor:
        """Logits [B, P, K], with those of other frames mixed in.

        Args:
            features: float32 [B, P, C] from `PointFeatures`.
            own: the key frames' own proposals.
            bank: the first `reference_proposals` proposals of each reference frame, frame after frame.
        """
        query = self.query(features)
        parts = [self._attend(query, rows) for rows in (own, bank)]
        highest = torch.maximum(*(logits.amax(-1, keepdim=True) for logits, _ in parts))
        weights = [(logits - highest).exp() for logits, _ in parts]
        total = weights[0].sum(-1, keepdim=True) + weights[1].sum(-1, keepdim=True)
        weights = [w / total for w in weights]
        gathered = sum_of(
            torch.matmul(w, rows.logits[:, None]) for w, rows in zip(weights, (own, bank), strict=True)
        )
        likeness = sum_of((w * cosine).sum(-1) for w, (_, cosine) in zip(weights, parts, strict=True))
        sharpness = torch.maximum(*(w.amax(-1) for w in weights))
        z = own.logits
        agreement = (z.softmax(-1)[:, None] * gathered.softmax(-1)).sum(-1)
        own_level = _best_level(own, self.config.best, own.logits.shape[1])
        bank_level = torch.where(
            bank.valid.any(-1),
            _best_level(bank, self.config.best, self.config.reference_proposals),
            own_level,
        )
        by_head = [gathered.amax(-1) / LOGIT_SCALE, likeness, sharpness, agreement]
        count = z.shape[1]
        inputs = torch.cat(
            [
                z.amax(-1, keepdim=True) / LOGIT_SCALE,
                *(x.transpose(1, 2) for x in by_head),
                _spread(bank_level, own_level, count),
                _spread(own_level, own_level, count),
                self.summary(features),
            ],
            -1,
        )
        gate: Tensor = self.gate(functional.relu(self.hidden(inputs)))
        shares = gate[..., :-1].tanh().transpose(1, 2)[..., None]
        return z + (shares * (gathered - z[:, None])).sum(1) + gate[..., -1:]

    def _attend(self, query: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """The attention's logits and the cosines, both [B, H, P, N]."""
        cosine = torch.matmul(query, rows.keys.transpose(-1, -2))
        prior = rows.logits.amax(-1)[:, None, None] * self.beta[:, None, None]
        mask = torch.where(rows.valid, 0.0, MASKED)[:, None, None]
        return cosine * self.temperature.exp()[:, None, None] + prior + mask, cosine


def sum_of(parts: Iterable[Tensor]) -> Tensor:
    """The sum of two tensors or more."""
    first, *rest = parts
    for each in rest:
        first = first + each
    return first


def _best_level(rows: Rows, best: int, per_frame: int) -> Tensor:
    """Mean best logit of each frame's `best` first proposals, scaled: [B or 1]."""
    place = torch.arange(rows.valid.shape[1], device=rows.valid.device) % per_frame
    counted = (rows.valid & (place < best)[None]).to(torch.float32)
    return (rows.logits.amax(-1) * counted).sum(-1) / counted.sum(-1).clamp(min=1) / LOGIT_SCALE


def _spread(level: Tensor, like: Tensor, count: int) -> Tensor:
    """One value per frame to [B, P, 1]."""
    return (level + torch.zeros_like(like))[:, None, None].expand(-1, count, 1)
