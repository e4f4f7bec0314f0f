"""The translated operators in ONNX Runtime equal the operators in torch."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from selsa_export.graphs.operators import TRANSLATIONS
from selsa_export.graphs.write import OPSET
from selsa_training.model.nms import greedy_nms


class Suppression(nn.Module):
    def forward(self, boxes: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        indices, kept = greedy_nms(boxes, scores, 0.5, 0.2, 7)
        return indices, kept


def exported(module: nn.Module, inputs: tuple, dynamic: tuple, path: Path) -> ort.InferenceSession:
    program = torch.onnx.export(
        module.eval(),
        inputs,
        dynamo=True,
        opset_version=OPSET,
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
    return exported(Suppression(), inputs, ({0: "B", 1: "N"}, {0: "B", 1: "N"}), path)


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
