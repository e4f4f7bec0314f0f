"""The native graphs equal the model for any batch, size and number of references."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import typer
from typer.testing import CliRunner

from selsa_bundle.contract import contract_for
from selsa_bundle.engine import Engines, ReferenceBank
from selsa_bundle.gate.agreement import box_iou, match_boxes
from selsa_bundle.manifest import Manifest
from selsa_bundle.runtimes.load import load_engines
from selsa_bundle.runtimes.onnx import OnnxEngines, RuntimeOptions
from selsa_export.cli.export import export
from selsa_export.graphs.operators import LARGEST_TOPK
from selsa_export.parity.frames import procedural_frames
from selsa_training.checkpoint.checkpoint import Checkpoint
from selsa_training.checkpoint.detector import detector_of
from selsa_training.model.torch_engines import TorchEngines

# Operators that TensorRT has no layer for, or one that is limited, data-dependent or a plugin.
NOT_NATIVE = {"NonMaxSuppression", "RoiAlign", "NonZero", "Attention", "GridSample", "If", "Unique"}


def opened(folder: Path, variant: str) -> Engines:
    manifest = Manifest.read(folder)
    pair = manifest.engines[variant]
    options = RuntimeOptions(threads=1)
    return OnnxEngines(
        folder / pair["frame"].file, folder / pair["sequence"].file, manifest.dimensions, options
    )


@pytest.fixture(scope="module")
def native(r18_native_bundle: Path) -> Engines:
    return opened(r18_native_bundle, "native")


@pytest.fixture(scope="module")
def model(r18_checkpoint: Checkpoint) -> TorchEngines:
    return TorchEngines(detector_of(r18_checkpoint))


def nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    inner = [a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return [*graph.node, *(node for each in inner for node in nodes(each))]


@pytest.mark.parametrize("precision", ["native", "native-fp16"])
def test_native_graphs_have_only_operators_that_every_tensorrt_has(
    r18_native_bundle: Path, precision: str
) -> None:
    pair = Manifest.read(r18_native_bundle).engines[precision]
    for name in ("frame", "sequence"):
        found = onnx.load(r18_native_bundle / pair[name].file)
        assert not {node.op_type for node in nodes(found.graph)} & NOT_NATIVE
        assert {opset.domain for opset in found.opset_import} == {""}
        assert not found.functions
        initializers = {i.name: onnx.numpy_helper.to_array(i) for i in found.graph.initializer}
        for node in nodes(found.graph):
            if node.op_type == "TopK" and node.input[1] in initializers:
                assert int(initializers[node.input[1]].max()) <= LARGEST_TOPK
        if name == "frame":
            assert {n.op_type for n in found.graph.node if "frames" in n.input} <= {"Cast", "Shape"}


def test_half_precision_is_used_for_features_and_not_for_boxes(r18_native_bundle: Path) -> None:
    manifest = Manifest.read(r18_native_bundle)
    half, single = (manifest.engines[v]["frame"] for v in ("native-fp16", "native"))
    assert half.bytes < 0.52 * single.bytes
    assert half.tensors == contract_for("frame", manifest.dimensions)
    graph = onnx.shape_inference.infer_shapes(onnx.load(r18_native_bundle / half.file)).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    kinds |= {i.name: i.data_type for i in graph.initializer}
    (loop,) = (node for node in graph.node if node.op_type == "Loop")
    body = loop.attribute[0].g
    outer = {name for node in body.node for name in node.input} & set(kinds)
    assert outer
    assert onnx.TensorProto.FLOAT16 not in {kinds[name] for name in outer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions
    assert {kinds[node.input[1]] for node in convolutions} == {onnx.TensorProto.FLOAT16}


def frames(batch: int, height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Padded frames of mixed sizes, one of the procedural clip among them."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((batch, height, width, 3), np.uint8)
    sizes = np.zeros((batch, 2), np.int64)
    for i in range(batch):
        h, w = height - int(rng.integers(0, 16)), width - int(rng.integers(0, 16))
        sizes[i] = h, w
        clip = procedural_frames(i + 1, height=h, width=w)[-1]
        pixels[i, :h, :w] = clip
    return pixels, sizes


def relative(want: np.ndarray, found: np.ndarray) -> float:
    return float(np.linalg.norm(want - found) / np.linalg.norm(want))


@pytest.mark.parametrize(
    ("batch", "height", "width", "references"),
    [(1, 256, 256, 1), (3, 256, 400, 4), (2, 336, 192, 2), (1, 16, 16, 1), (2, 64, 48, 3)],
)
def test_every_output_tensor_equals_the_model(
    native: Engines, model: TorchEngines, batch: int, height: int, width: int, references: int
) -> None:
    pixels, sizes = frames(batch, height, width, seed=batch * height + width)
    want, found = model.run_frames(pixels, sizes), native.run_frames(pixels, sizes)
    assert np.array_equal(found.valid.sum(1), want.valid.sum(1))
    for i in range(batch):
        count = int(want.valid[i].sum())
        # The order of scores that rounding makes equal can differ.
        mine, theirs = want.boxes[i, :count], found.boxes[i, :count]
        pairs = np.array(match_boxes(box_iou(mine, theirs), 0.99))
        assert len(pairs) >= count - 1
        rows, others = pairs.T
        assert np.abs(mine[rows] - theirs[others]).max() < 0.02
        assert relative(want.queries[i][rows], found.queries[i][others]) < 1e-3
        assert relative(want.memory[i][:, :, rows], found.memory[i][:, :, others]) < 1e-3
    bank = ReferenceBank(
        memory=np.concatenate([want.memory[i % batch] for i in range(references)], axis=2),
        valid=np.concatenate([want.valid[i % batch] for i in range(references)]),
    )
    scales = np.full((batch, 2), 0.7, np.float32)
    wanted = model.run_sequence(want, sizes, scales, bank)
    given = native.run_sequence(want, sizes, scales, bank)
    assert np.array_equal(given.count, wanted.count)
    assert np.array_equal(given.labels, wanted.labels)
    assert np.abs(given.scores - wanted.scores).max() < 1e-4
    assert np.abs(given.boxes - wanted.boxes).max() < 0.02


def test_the_report_has_the_native_graphs(r18_native_bundle: Path) -> None:
    report = json.loads((r18_native_bundle / "parity.json").read_bytes())
    assert set(report["native"]) == {"fp32", "fp16"}
    single, half = report["native"]["fp32"], report["native"]["fp16"]
    assert single["detections_unmatched"] == 0
    assert single["detection_score"] < 1e-3
    assert single["features"]["queries"] < 1e-3
    assert single["batched"] == "equal"
    assert 1e-5 < half["features"]["queries"] < 0.05


def test_a_bundle_with_native_graphs_still_runs_on_the_cpu(r18_native_bundle: Path) -> None:
    loaded = load_engines(r18_native_bundle)
    assert loaded.engines.info.precision == "fp32"
    loaded.engines.close()


@pytest.mark.parametrize("text", ["fp8", "fp32,bf16", ""])
def test_an_unknown_precision_is_named(text: str, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(export)
    done = CliRunner().invoke(app, [str(tmp_path), "-o", str(tmp_path / "bundle"), "--native", text])
    assert done.exit_code == 3
    assert "allowed are fp32, fp16" in done.stderr
    assert not (tmp_path / "bundle").exists()
