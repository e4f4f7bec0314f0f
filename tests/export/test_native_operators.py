"""The native operators in ONNX Runtime equal the model's operators in torch."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from selsa_export.graphs import operators
from selsa_export.graphs.operators import NATIVE_TRANSLATIONS
from selsa_export.graphs.write import OPSET
from selsa_training.model.nms import greedy_nms

WANTED = 7


class Suppression(nn.Module):
    def __init__(self, iou: float) -> None:
        super().__init__()
        self.iou = iou

    def forward(self, boxes: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        indices, kept = greedy_nms(boxes, scores, self.iou, 0.2, WANTED)
        return indices, kept


class Top(nn.Module):
    def forward(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        best, place = torch.topk(scores, 25, dim=1)
        return best, place


def exported(module: nn.Module, inputs: tuple, dynamic: tuple, path: Path) -> ort.InferenceSession:
    program = torch.onnx.export(
        module.eval(),
        inputs,
        dynamo=True,
        opset_version=OPSET,
        dynamic_shapes=dynamic,
        custom_translation_table=NATIVE_TRANSLATIONS,
        verbose=False,
    )
    assert program is not None
    program.save(str(path))
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


# 0.3 is no float32: a comparison with the nearest one would differ where an IoU is exactly that.
@pytest.fixture(scope="module", params=[0.5, 0.3])
def suppression(request, tmp_path_factory: pytest.TempPathFactory) -> tuple[ort.InferenceSession, float]:
    inputs = (torch.rand(2, 30, 4), torch.rand(2, 30))
    path = tmp_path_factory.mktemp("nms") / "nms.onnx"
    sizes = {0: "B", 1: "N"}
    return exported(Suppression(request.param), inputs, (sizes, sizes), path), request.param


def check(suppression: tuple[ort.InferenceSession, float], boxes: np.ndarray, scores: np.ndarray) -> None:
    session, iou = suppression
    indices, kept = session.run(None, {"boxes": boxes, "scores": scores})
    want, want_kept = greedy_nms(torch.from_numpy(boxes), torch.from_numpy(scores), iou, 0.2, WANTED)
    assert np.array_equal(kept, want_kept.numpy())
    assert np.array_equal(indices, want.numpy())


def boxes_of(kind: str, rng: np.random.Generator, batch: int, count: int) -> np.ndarray:
    """[B, N, 4] xyxy."""
    if kind == "chains":
        # Each box overlaps the next one, so every decision depends on the one before.
        left = np.arange(count, dtype=np.float32) * rng.uniform(0.2, 3) + np.zeros((batch, 1), np.float32)
        return np.stack([left, left * 0, left + 5, left * 0 + 5], -1).astype(np.float32)
    if kind == "grid":
        # Equal boxes, and overlaps of exactly the threshold.
        corners = rng.integers(0, 4, (batch, count, 2))
        return np.concatenate([corners, corners + rng.integers(0, 4, (batch, count, 2))], -1).astype(
            np.float32
        )
    if kind == "degenerate":
        # No width, no height, or turned inside out.
        corners = rng.integers(0, 6, (batch, count, 4))
        return corners.astype(np.float32)
    corners = rng.uniform(-40, 60, (batch, count, 2))
    return np.concatenate([corners, corners + rng.uniform(0, 50, (batch, count, 2))], -1).astype(np.float32)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 4),
    count=st.integers(1, 300),
    kind=st.sampled_from(["any", "grid", "chains", "degenerate"]),
    ties=st.booleans(),
)
def test_suppression_keeps_what_torchvision_keeps_in_its_order(
    suppression: tuple[ort.InferenceSession, float], seed: int, batch: int, count: int, kind: str, ties: bool
) -> None:
    rng = np.random.default_rng(seed)
    boxes = boxes_of(kind, rng, batch, count)
    # Some frames have no candidate at all, some fewer than the places.
    scores = rng.random((batch, count)) * rng.choice([0.1, 0.3, 1], (batch, 1))
    scores = (np.round(scores, 1) if ties else scores).astype(np.float32)
    check(suppression, boxes, scores)


def test_a_long_chain_in_one_window_is_settled_over_several_turns(
    suppression: tuple[ort.InferenceSession, float],
) -> None:
    """The worst case: every box depends on the one before, so a round decides only two boxes."""
    left = np.arange(200, dtype=np.float32)[None]
    boxes = np.stack([left, left * 0, left + 2.4, left * 0 + 1], -1)
    scores = np.linspace(1, 0.3, 200, dtype=np.float32)[None]
    check(suppression, boxes, scores)


def test_topk_in_several_passes_has_the_order_of_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operators, "LARGEST_TOPK", 10)
    session = exported(Top(), (torch.rand(2, 40),), ({0: "B", 1: "N"},), tmp_path / "top.onnx")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores = np.round(rng.random((3, int(rng.integers(25, 90)))), 1).astype(np.float32)
        best, place = session.run(None, {"scores": scores})
        order = np.argsort(-scores, axis=1, kind="stable")[:, :25]
        assert np.array_equal(place, order)
        assert np.array_equal(best, np.take_along_axis(scores, order, axis=1))
