"""The translated operators compute in ONNX Runtime what they compute in torch."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from selsa_export.operators import TRANSLATIONS
from selsa_training.model.attention import multi_head_attention
from selsa_training.model.nms import greedy_nms


class Suppression(nn.Module):
    def forward(self, boxes: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        indices, kept = greedy_nms(boxes, scores, 0.5, 0.2, 7)
        return indices, kept


class Attention(nn.Module):
    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return multi_head_attention(q, k, v, mask, 2)


def exported(
    module: nn.Module, inputs: tuple, dynamic: tuple, path: Path, opset: int
) -> ort.InferenceSession:
    program = torch.onnx.export(
        module.eval(),
        inputs,
        dynamo=True,
        opset_version=opset,
        dynamic_shapes=dynamic,
        custom_translation_table=TRANSLATIONS,
        verbose=False,
    )
    assert program is not None
    program.save(str(path))
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def suppression(tmp_path_factory: pytest.TempPathFactory) -> ort.InferenceSession:
    inputs = (torch.rand(2, 30, 4), torch.rand(2, 30))
    path = tmp_path_factory.mktemp("nms") / "nms.onnx"
    return exported(Suppression(), inputs, ({0: "B", 1: "N"}, {0: "B", 1: "N"}), path, 20)


@pytest.mark.parametrize("seed", range(40))
def test_suppression_is_the_same_for_every_frame_of_a_batch(
    suppression: ort.InferenceSession, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    batch, count = int(rng.integers(1, 5)), int(rng.integers(1, 80))
    corners = rng.uniform(-40, 60, (batch, count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 50, (batch, count, 2))], -1).astype(np.float32)
    # Some frames have no candidate at all, some fewer than the places.
    scores = (rng.random((batch, count)) * rng.choice([0.1, 0.3, 1], (batch, 1))).astype(np.float32)
    indices, kept = suppression.run(None, dict(zip(("boxes", "scores"), (boxes, scores), strict=True)))
    want, want_kept = greedy_nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.5, 0.2, 7)
    assert np.array_equal(kept, want_kept.numpy())
    assert np.array_equal(indices, want.numpy())


def test_attention_is_the_same_with_and_without_masked_rows(tmp_path: Path) -> None:
    def inputs(batch: int, rows: int) -> tuple[torch.Tensor, ...]:
        mask = torch.rand(batch, 1, 1, rows) > 0.3
        mask[..., 0] = True
        rest = (torch.randn(batch, n, 6) for n in (5, rows, rows))
        return (*rest, mask.expand(-1, -1, 5, -1).contiguous())

    rows = {0: "B", 1: "L"}
    session = exported(
        Attention(), inputs(2, 9), ({0: "B"}, rows, rows, {0: "B", 3: "L"}), tmp_path / "attention.onnx", 23
    )
    for batch, length in ((1, 4), (3, 17)):
        given = inputs(batch, length)
        found = session.run(None, {k: x.numpy() for k, x in zip(("q", "k", "v", "mask"), given, strict=True)})
        assert np.allclose(found[0], multi_head_attention(*given, 2).numpy(), atol=1e-6)
