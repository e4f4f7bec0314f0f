"""Sequence level semantics aggregation: proposals of a key frame attend to proposals of the sequence.

`Aggregation` is the interface that the detector, its training and the exporter use, so another head is one
class. The formula is written once: `AggregationHead.memories` for the side that is attended to,
`AggregationHead.attended` for the side that attends.

Shape suffixes: B key frames, P proposals of a key frame, R rows of the reference bank, L rows that are
attended to, C feature width.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import scaled_dot_product_attention


class Aggregation(Protocol):
    """A head that turns RoI features into aggregated features.

    S is the number of memories per proposal, one for each attention.
    """

    def memorise(self, roi_features: Tensor) -> tuple[Tensor, Tensor]:
        """Compute everything that depends only on the proposal's own frame; called once per frame.

        Args:
            roi_features: [B, P, in_features].

        Returns:
            queries: [B, P, C].
            memory: [B, S, 2, P, C], key and value of each attention.
        """
        ...

    def aggregate(
        self, queries: Tensor, valid: Tensor, memory: Tensor, bank: Tensor, bank_valid: Tensor
    ) -> Tensor:
        """Aggregated features of key frames that share one bank.

        Args:
            queries: [B, P, C] from `memorise` of the key frames.
            valid: bool [B, P].
            memory: [B, S, 2, P, C] from `memorise` of the key frames.
            bank: [S, 2, R, C] from `memorise` of the reference frames.
            bank_valid: bool [R].

        Returns:
            [B, P, C].
        """
        ...

    def learn(self, key_features: Tensor, rows: Tensor | None, rows_valid: Tensor) -> Tensor:
        """Both sides at once for training, where every sample of a batch has its own reference rows.

        Args:
            key_features: [B, P, cells, channels], RoI features of the key frames' boxes, cell by cell.
            rows: [B, L, cells, channels], RoI features of the boxes that are attended to. None: the key
                frames' own; their first layer is then computed once.
            rows_valid: bool [B, L].

        Returns:
            [B, P, C].
        """
        ...


def multi_head_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Per head: softmax over rows of query . key / sqrt(channels of a head), then the weighted sum of values.

    Args:
        query: float [B, P, C]; head h has channels h*C/heads to (h+1)*C/heads.
        key: float [B, L, C].
        value: float [B, L, C].
        mask: bool [B, 1, P, L], true where a row may be attended to; at least one in every row of P.
        heads: number of heads; divides C.

    Returns:
        float [B, P, C], heads concatenated.
    """
    q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (query, key, value))
    gathered = scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return gathered.transpose(1, 2).reshape(query.shape)


class SequenceAttention(nn.Module):
    """The projections of one attention.

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

    def forward(self, features_BPC: Tensor, key_BLC: Tensor, value_BLC: Tensor, mask_B1PL: Tensor) -> Tensor:
        """Features that each proposal gathers from L rows: [B, P, C].

        Args:
            features_BPC: the key frames' features, before ReLU.
            key_BLC: keys of the rows.
            value_BLC: values of the rows.
            mask_B1PL: bool, true if a row is a proposal and not padding.
        """
        query = self.query(features_BPC)
        gathered: Tensor = self.out(multi_head_attention(query, key_BLC, value_BLC, mask_B1PL, self.heads))
        return gathered


class AggregationStage(nn.Module):
    """One shared layer of the box head and the attention that follows it, if any."""

    def __init__(self, in_features: int, width: int, heads: int, *, aggregation: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(in_features, width)
        self.attention = SequenceAttention(width, heads) if aggregation else None


Gather = Callable[[int, SequenceAttention, Tensor], Tensor]
"""(stage, its attention, features before ReLU) -> features gathered from the sequence, of the same shape."""


class AggregationHead(nn.Module):
    """The shared layers of the box head with an attention after each. See `Aggregation`.

    The reference side runs every layer without attention, so it depends on its own frame only. The key side
    adds the gathered features before each ReLU.
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

    def memories(self, queries: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Key and value of each stage, [..., C] each; zeros for a stage without attention.

        Args:
            queries: [..., C], the first layer's output before its ReLU.
        """
        x = queries
        for index, stage in enumerate(self._stages()):
            if index > 0:
                x = stage.fc(x.relu())
            attention = stage.attention
            yield (
                (torch.zeros_like(x), torch.zeros_like(x))
                if attention is None
                else (attention.key(x), attention.value(x))
            )

    def attended(self, queries: Tensor, gather: Gather) -> Tensor:
        """The key side: features after the last ReLU, of the shape of `queries`.

        Args:
            queries: [..., C], the first layer's output before its ReLU.
            gather: the attention over the rows of each stage.
        """
        x = queries
        for index, stage in enumerate(self._stages()):
            if index > 0:
                x = stage.fc(x)
            if stage.attention is not None:
                x = x + gather(index, stage.attention, x)
            x = x.relu()
        return x

    def memorise(self, roi_features: Tensor) -> tuple[Tensor, Tensor]:
        """See `Aggregation`; the queries are the first layer's output before its ReLU."""
        queries = self._stages()[0].fc(roi_features)
        return queries, torch.stack([torch.stack(pair, dim=1) for pair in self.memories(queries)], dim=1)

    def aggregate(
        self, queries: Tensor, valid: Tensor, memory: Tensor, bank: Tensor, bank_valid: Tensor
    ) -> Tensor:
        """See `Aggregation`. Rows of the bank come first, then the key frame's own."""
        batch = len(queries)
        mask = _mask(torch.cat([bank_valid.expand(batch, -1), own_rows(valid)], dim=1), queries.shape[1])

        def gather(stage: int, attention: SequenceAttention, x: Tensor) -> Tensor:
            shared, own = bank[stage], memory[:, stage]
            key, value = (torch.cat([shared[i].expand(batch, -1, -1), own[:, i]], dim=1) for i in range(2))
            gathered: Tensor = attention(x, key, value, mask)
            return gathered

        return self.attended(queries, gather)

    def learn(self, key_features: Tensor, rows: Tensor | None, rows_valid: Tensor) -> Tensor:
        """See `Aggregation`."""
        first = self._stages()[0].fc
        queries = _cell_by_cell(first, key_features)
        attended_to = queries if rows is None else _cell_by_cell(first, rows)
        memories = list(self.memories(attended_to)) if self._stages()[0].attention else []
        mask = _mask(own_rows(rows_valid), key_features.shape[1])
        return self.attended(queries, lambda stage, attention, x: attention(x, *memories[stage], mask))

    def _stages(self) -> list[AggregationStage]:
        return [stage for stage in self.stages if isinstance(stage, AggregationStage)]


def own_rows(valid_BL: Tensor) -> Tensor:
    """Which rows may be attended to: bool [B, L].

    If a frame has no proposal, all its padding: a softmax over nothing is NaN. No detection comes of it.
    """
    return valid_BL | ~valid_BL.any(dim=1, keepdim=True)


def _mask(rows_BL: Tensor, count: int) -> Tensor:
    return rows_BL[:, None, None, :].expand(-1, -1, count, -1)


def _cell_by_cell(layer: nn.Linear, features: Tensor) -> Tensor:
    """A layer whose weights are channel-major on features [B, N, cells, channels].

    Reordering the weights moves far fewer bytes than reordering the features.
    """
    cells = features.shape[2]
    weight = layer.weight.reshape(layer.out_features, -1, cells).transpose(1, 2).flatten(1)
    return functional.linear(features.flatten(2), weight, layer.bias)
