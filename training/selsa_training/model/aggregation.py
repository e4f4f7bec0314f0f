"""Sequence level semantics aggregation: proposals of a key frame attend to proposals of the sequence.

Shape suffixes: B key frames, P proposals of a key frame, R rows of the reference bank, C feature width.
"""

import torch
from torch import Tensor, nn

from selsa_training.model.attention import multi_head_attention

__all__ = ["AggregationHead", "AggregationStage", "SequenceAttention"]


class SequenceAttention(nn.Module):
    """Multi-head attention of key-frame proposals over the bank and their own frame.

    Source: the paper's eq. 4 (semantic similarity) and 5 (aggregation), in the form of mmtracking 0.14
    `SelsaAggregator`: projected queries, keys and values, one softmax over all rows per head.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def memory(self, features_BPC: Tensor) -> Tensor:
        """Key and value of every proposal, from its own frame only: [B, P, C] -> [B, 2, P, C]."""
        return torch.stack([self.key(features_BPC), self.value(features_BPC)], dim=1)

    def forward(self, features_BPC: Tensor, own_B2PC: Tensor, bank_2RC: Tensor, mask_B1PL: Tensor) -> Tensor:
        """What each proposal gathers from the sequence: [B, P, C].

        Args:
            features_BPC: the key frames' features, before ReLU.
            own_B2PC: key and value of the key frames' own proposals.
            bank_2RC: key and value of the reference frames' proposals, shared by the key frames.
            mask_B1PL: bool, L = R + P, true where a row is a proposal and not padding; bank first.
        """
        batch = features_BPC.shape[0]
        key = torch.cat([bank_2RC[0].expand(batch, -1, -1), own_B2PC[:, 0]], dim=1)
        value = torch.cat([bank_2RC[1].expand(batch, -1, -1), own_B2PC[:, 1]], dim=1)
        query = self.query(features_BPC)
        return self.out(multi_head_attention(query, key, value, mask_B1PL, self.heads))  # type: ignore[no-any-return]


class AggregationStage(nn.Module):
    """One shared layer of the box head and the attention that follows it."""

    def __init__(self, in_features: int, width: int, heads: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_features, width)
        self.attention = SequenceAttention(width, heads)


class AggregationHead(nn.Module):
    """The shared layers of the box head with an aggregation after each.

    The reference side (`memorise`) runs every layer without aggregation, so it depends on its own frame only
    and is computed once per frame; the key side (`aggregate`) adds what attention gathers before each ReLU.
    """

    stages: "nn.ModuleList"

    def __init__(self, in_features: int, width: int, heads: int, stages: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            AggregationStage(in_features if i == 0 else width, width, heads) for i in range(stages)
        )

    def memorise(self, roi_features: Tensor) -> tuple[Tensor, Tensor]:
        """The reference side.

        Args:
            roi_features: [B, P, in_features].

        Returns:
            queries: [B, P, C], the first layer's output before its ReLU.
            memory: [B, S, 2, P, C], key and value of each stage.
        """
        x = roi_features
        before_relu, memory = [], []
        for stage in self.stages:
            assert isinstance(stage, AggregationStage)
            x = stage.fc(x)
            before_relu.append(x)
            memory.append(stage.attention.memory(x))
            x = x.relu()
        return before_relu[0], torch.stack(memory, dim=1)

    def aggregate(
        self, queries: Tensor, valid: Tensor, memory: Tensor, bank: Tensor, bank_valid: Tensor
    ) -> Tensor:
        """The key side.

        Args:
            queries: [B, P, C] from `memorise` of the key frames.
            valid: bool [B, P].
            memory: [B, S, 2, P, C] from `memorise` of the key frames.
            bank: [S, 2, R, C] from `memorise` of the reference frames.
            bank_valid: bool [R].

        Returns:
            [B, P, C], aggregated features after the last ReLU.
        """
        batch, count, _ = queries.shape
        # A frame without proposals attends to its own padding rather than to nothing (softmax of nothing is
        # NaN); no detection comes of it.
        own_valid = valid | ~valid.any(dim=1, keepdim=True)
        rows = torch.cat([bank_valid.expand(batch, -1), own_valid], dim=1)
        mask = rows[:, None, None, :].expand(-1, -1, count, -1)
        x = queries
        for index, stage in enumerate(self.stages):
            assert isinstance(stage, AggregationStage)
            if index > 0:
                x = stage.fc(x)
            x = (x + stage.attention(x, memory[:, index], bank[index], mask)).relu()
        return x
