"""The modules that graphs are written from equal the model's own parts."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.ops import roi_align

from selsa_export.graphs.roi_align import RoiProducts
from selsa_export.graphs.stages import attend, mask_bias
from selsa_export.graphs.write import roi_products
from selsa_training.config import CONFIGS
from selsa_training.model.aggregation import multi_head_attention

HEADS, WIDTH, COUNT = 2, 6, 5


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 4),
    rows=st.integers(1, 30),
    share=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_attention_over_two_memories_equals_attention_over_their_concatenation(
    seed: int, batch: int, rows: int, share: float
) -> None:
    """`share` 0: every row of the bank is masked. Masked rows have large values."""
    draw = torch.Generator().manual_seed(seed)
    query, key, value = (torch.randn(batch, COUNT, WIDTH, generator=draw) for _ in range(3))
    bank_valid = torch.rand(rows, generator=draw) < share
    size = torch.where(bank_valid, 1.0, 50.0)[:, None]
    bank = tuple(size * torch.randn(1, rows, WIDTH, generator=draw) for _ in range(2))
    own_valid = torch.rand(batch, COUNT, generator=draw) > 0.3
    own_valid[:, 0] = True
    bias = mask_bias(own_valid)[:, None, None, :], mask_bias(bank_valid)
    found = attend(query, (key, value), bank, bias, HEADS)
    together = [
        torch.cat([each.expand(batch, -1, -1), own], 1) for each, own in zip(bank, (key, value), strict=True)
    ]
    mask = torch.cat([bank_valid.expand(batch, -1), own_valid], 1)[:, None, None].expand(-1, -1, COUNT, -1)
    want = multi_head_attention(query, *together, mask, HEADS)
    assert torch.allclose(found, want, atol=1e-5)


def test_half_precision_sums_up_without_overflow() -> None:
    rows = 5000
    query, own = torch.zeros(1, 1, 4), torch.full((1, 1, 4), 20.0)
    bank = torch.full((1, rows, 4), 20.0)
    bias = mask_bias(torch.ones(1, 1, 1, 1, dtype=torch.bool)), mask_bias(torch.ones(rows, dtype=torch.bool))
    found = attend(query.half(), (own.half(), own.half()), (bank.half(), bank.half()), bias, 1)
    assert torch.allclose(found.float(), own, rtol=1e-2)


def test_roi_features_through_the_reordered_layer_are_those_of_torchvision() -> None:
    draw = torch.Generator().manual_seed(0)
    batch, channels, height, width, count = 2, 5, 6, 9, 40
    features = torch.randn(batch, channels, height, width, generator=draw)
    size = torch.tensor([width, height]) * 16.0
    low = torch.rand(batch, count, 2, generator=draw) * size
    # Proposals are clipped, and padding is a box without an area in the corner.
    boxes = torch.cat([low, low + torch.rand(batch, count, 2, generator=draw) * (size - low)], 2)
    boxes[:, -3:] = 0
    boxes[:, 0] = torch.tensor([0.0, 0, width * 16, height * 16])
    frame = torch.arange(batch)[:, None, None].expand(batch, count, 1)
    rois = torch.cat([frame, boxes], 2).reshape(-1, 5)
    layer = nn.Linear(channels * 9, 7)
    want = layer(roi_align(features, rois, (3, 3), 1 / 16, 2, aligned=True).flatten(1))
    pool = RoiProducts(size=3, sampling_ratio=2, scale=1 / 16)
    found = pool.reordered(layer)(pool(features, boxes))
    assert torch.allclose(found, want, atol=1e-5)


def test_only_small_feature_maps_are_pooled_by_products_on_a_cpu() -> None:
    chosen = {name: roi_products(config) for name, config in CONFIGS.items()}
    assert chosen == {name: name == "tiny" for name in CONFIGS}
