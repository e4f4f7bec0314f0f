"""Sequence level semantics aggregation: proposals of a key frame attend to proposals of the sequence.

Shape suffixes: B key frames, P proposals of a key frame, R rows of the reference bank, C feature width.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from selsa_training.model.attention import multi_head_attention


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
        return self.gather(features_BPC, key, value, mask_B1PL)

    def gather(self, features_BPC: Tensor, key_BLC: Tensor, value_BLC: Tensor, mask_B1PL: Tensor) -> Tensor:
        """What each proposal gathers from L rows: [B, P, C]."""
        query = self.query(features_BPC)
        gathered: Tensor = self.out(multi_head_attention(query, key_BLC, value_BLC, mask_B1PL, self.heads))
        return gathered


class AggregationStage(nn.Module):
    """One shared layer of the box head and the attention that follows it, if any."""

    def __init__(self, in_features: int, width: int, heads: int, *, aggregation: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(in_features, width)
        self.attention = SequenceAttention(width, heads) if aggregation else None

    def memory(self, features_BPC: Tensor) -> Tensor:
        """Key and value of every proposal [B, 2, P, C]; zeros where nothing attends to them."""
        if self.attention is None:
            return torch.zeros_like(features_BPC)[:, None].expand(-1, 2, -1, -1)
        return self.attention.memory(features_BPC)


class AggregationHead(nn.Module):
    """The shared layers of the box head with an aggregation after each.

    The reference side (`memorise`) runs every layer without aggregation, so it depends on its own frame only
    and is computed once per frame; the key side (`aggregate`) adds what attention gathers before each ReLU.
    """

    stages: "nn.ModuleList"

    def __init__(
        self, in_features: int, width: int, heads: int, stages: int, *, aggregation: bool = True
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            AggregationStage(in_features if i == 0 else width, width, heads, aggregation=aggregation)
            for i in range(stages)
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
            memory.append(stage.memory(x))
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
            if stage.attention is not None:
                x = x + stage.attention(x, memory[:, index], bank[index], mask)
            x = x.relu()
        return x

    def learn(self, key_features: Tensor, rows: Tensor | None, rows_valid: Tensor) -> Tensor:
        """Both sides at once, where every sample of a batch has its own reference rows.

        Args:
            key_features: [B, K, cells, channels], RoI features of the key frames' boxes, cell by cell.
            rows: [B, L, cells, channels], RoI features of the boxes that are attended to; None: the key
                frames' own, which are then computed once.
            rows_valid: bool [B, L].

        Returns:
            [B, K, C], aggregated features after the last ReLU.
        """
        rows_valid = rows_valid | ~rows_valid.any(dim=1, keepdim=True)
        mask = rows_valid[:, None, None, :].expand(-1, -1, key_features.shape[1], -1)
        cells = key_features.shape[2]
        x, y = key_features, key_features if rows is None else rows
        for index, stage in enumerate(self.stages):
            assert isinstance(stage, AggregationStage)
            layer = partial(_cell_by_cell, stage.fc, cells) if index == 0 else stage.fc
            shared = index == 0 and rows is None
            x = layer(x)
            if stage.attention is not None:
                y = x if shared else layer(y)
                key, value = stage.attention.key(y), stage.attention.value(y)
                x = x + stage.attention.gather(x, key, value, mask)
                y = y.relu()
            x = x.relu()
        return x


def _cell_by_cell(layer: nn.Linear, cells: int, features: Tensor) -> Tensor:
    """A layer whose weights are channel-major on features [B, N, cells, channels].

    Reordering the weights moves a fraction of what reordering the features would.
    """
    weight = layer.weight.reshape(layer.out_features, -1, cells).transpose(1, 2).flatten(1)
    return functional.linear(features.flatten(2), weight, layer.bias)
