"""OpenVINO behind the engine protocol: the same files, the same answers, and bfloat16 where there is some."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest

from selsa_bundle.default_bundle import synthetic_bundle
from selsa_bundle.engine import ReferenceBank
from selsa_bundle.errors import ContractError, EngineError
from selsa_bundle.runtimes.choice import EngineOptions
from selsa_bundle.runtimes.host import Host
from selsa_bundle.runtimes.load import LoadedBundle, load_engines, prove_engines

if importlib.util.find_spec("openvino") is None:
    pytest.skip("openvino is not installed", allow_module_level=True)

import openvino as ov
from openvino import opset9 as op

from selsa_bundle.runtimes.openvino import OpenVinoEngines, keep_boxes_exact

NO_BF16 = Host.here().cannot("openvino", "bf16")


def opened(precision: str) -> LoadedBundle:
    return load_engines(synthetic_bundle(), EngineOptions(provider="openvino", precision=precision))


@pytest.fixture(scope="module")
def fp32() -> Iterator[LoadedBundle]:
    bundle = opened("fp32")
    with closing(bundle.engines):
        yield bundle


def test_fp32_computes_what_the_test_frames_must_give(fp32: LoadedBundle) -> None:
    assert (fp32.engines.info.provider, fp32.engines.info.precision) == ("OpenVINO", "fp32")
    assert prove_engines(fp32) is not None


def test_a_compiled_engine_is_kept_and_gives_the_same_bits(fp32: LoadedBundle, tmp_path: Path) -> None:
    folder, said = tmp_path / "engines", list[str]()
    options = EngineOptions(provider="openvino", precision="fp32", engine_cache=folder, say=said.append)
    gate = fp32.gate
    wanted = fp32.engines.run_frames(gate.frames, gate.image_size)

    def check() -> dict[str, int]:
        bundle = load_engines(synthetic_bundle(), options)
        with closing(bundle.engines):
            assert prove_engines(bundle) is not None
            found = bundle.engines.run_frames(gate.frames, gate.image_size)
        assert (found.boxes == wanted.boxes).all()
        assert (found.memory == wanted.memory).all()
        return {file.name: file.stat().st_mtime_ns for file in sorted(folder.glob("*.engine"))}

    written = check()
    assert [name.split("-")[0] for name in written] == ["frame", "sequence"]
    assert check() == written
    damaged = folder / next(iter(written))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert list(check()) == list(written)
    assert said
    assert all("its checksum is wrong" in each for each in said)


def test_without_a_folder_that_can_be_used_engines_are_compiled(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    options = EngineOptions(provider="openvino", precision="fp32", engine_cache=tmp_path / "file" / "engines")
    with closing(load_engines(synthetic_bundle(), options).engines) as engines:
        assert engines.info.provider == "OpenVINO"


def test_a_program_can_convert_models_after_it_imported_selsa() -> None:
    """selsa imports OpenVINO without its converter, in a process where nobody imported OpenVINO before."""
    program = (
        "import sys, selsa_bundle.runtimes.openvino as ours, openvino\n"
        "assert 'openvino.tools.ovc' not in sys.modules\n"
        "assert not hasattr(openvino, 'no_such_name')\n"
        "model = openvino.convert_model(sys.argv[1])\n"
        "from openvino import convert_model\n"
        "print(len(model.outputs))"
    )
    graph = synthetic_bundle() / "sequence.onnx"
    said = subprocess.run([sys.executable, "-c", program, graph], check=True, capture_output=True, text=True)
    assert int(said.stdout) == len(ov.Core().read_model(graph).outputs)


def test_rows_that_are_no_proposals_are_finite(fp32: LoadedBundle) -> None:
    """OpenVINO's RoiAlign gives NaN for a box without area if its sampling ratio is 0."""
    small = np.zeros((1, 16, 16, 3), np.uint8)
    batch = fp32.engines.run_frames(small, np.array([[16, 16]], np.int64))
    sides = batch.boxes[..., 2:] - batch.boxes[..., :2]
    assert (sides.prod(-1) == 0).sum() > 10
    assert not batch.valid.all()
    assert np.isfinite(batch.memory).all()
    assert np.isfinite(batch.queries).all()


@pytest.mark.skipif(NO_BF16 is not None, reason=f"no bfloat16: {NO_BF16}")
def test_bf16_is_really_bf16_and_boxes_stay_exact_to_a_pixel() -> None:
    """A corner in bfloat16 would be a multiple of two pixels from 256 on."""
    bundle = opened("bf16")
    with closing(bundle.engines):
        difference = prove_engines(bundle)
        assert difference is not None
        # Features of boxes that were rounded on their way into RoIAlign would be 2 % off.
        assert 1e-3 < difference.features["memory"] < 0.012
        assert difference.boxes_corner < 1
        batch = bundle.engines.run_frames(bundle.gate.frames, bundle.gate.image_size)
        corners = batch.boxes[batch.boxes > 256]
        assert len(corners) > 10
        assert len(np.unique(corners % 2)) > 5
    assert bundle.engines.info.precision == "bf16"


def test_what_boxes_pass_through_into_roi_align_becomes_an_output_and_nothing_else_does() -> None:
    """The form of larger models, which have the operator; the packaged one has products."""
    features, boxes = op.parameter([1, 4, 8, 8], np.float32), op.parameter([5, 4], np.float32)
    batch = op.constant(np.zeros(5, np.int64))
    clipped = op.relu(boxes)
    clipped.output(0).set_names({"boxes"})
    halved = op.multiply(clipped, op.constant(np.float32(0.5)))
    pooled = op.roi_align(features, halved, batch, 2, 2, 2, 1.0, "avg", "asymmetric")
    model = ov.Model([clipped, op.sigmoid(pooled)], [features, boxes])
    keep_boxes_exact(model)
    assert len(model.outputs) == 3
    assert model.outputs[2].get_node().input(0).get_source_output().get_node().get_friendly_name() == (
        halved.get_friendly_name()
    )


def test_frames_of_several_sizes_and_calls_at_once_do_not_change_each_other(fp32: LoadedBundle) -> None:
    rng = np.random.default_rng(0)
    sizes = [(96, 160), (192, 320), (16, 16), (96, 160), (160, 96), (192, 320)]
    frames = [rng.integers(0, 256, (1, h, w, 3), np.uint8) for h, w in sizes]

    def run(number: int) -> tuple[np.ndarray, ...]:
        size, scale = np.array([sizes[number]], np.int64), np.ones((1, 2), np.float32)
        batch = fp32.engines.run_frames(frames[number], size)
        bank = ReferenceBank(memory=batch.memory[0], valid=batch.valid[0])
        found = fp32.engines.run_sequence(batch, size, scale, bank)
        return batch.boxes, batch.memory, found.scores

    alone = [run(number) for number in range(len(sizes))]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(run, [*range(len(sizes)), *range(len(sizes))]))
    for number, found in enumerate(together):
        for mine, other in zip(alone[number % len(sizes)], found, strict=True):
            np.testing.assert_allclose(mine, other, atol=1e-4)


def test_a_batch_gives_each_frame_what_it_gets_alone(fp32: LoadedBundle) -> None:
    gate = fp32.gate
    both = fp32.engines.run_frames(gate.frames, gate.image_size)
    for position in range(2):
        one = slice(position, position + 1)
        alone = fp32.engines.run_frames(gate.frames[one], gate.image_size[one])
        np.testing.assert_allclose(both.boxes[one], alone.boxes, atol=1e-3)
        np.testing.assert_allclose(both.memory[one], alone.memory, atol=1e-4)


def test_memory_does_not_grow_with_the_number_of_sizes(fp32: LoadedBundle) -> None:
    """With OpenVINO's own limit the second fifty sizes took 100 MB, with ours 20."""
    process = psutil.Process()
    resident = []
    for number in range(100):
        height, width = 16 * (4 + number % 10), 16 * (4 + number // 10)
        fp32.engines.run_frames(np.zeros((1, height, width, 3), np.uint8), np.array([[height, width]]))
        resident.append(process.memory_info().rss)
    assert resident[-1] - resident[49] < 60 << 20


CLOSED_ELSEWHERE = """
import gc, os, signal, threading
from selsa_bundle.runtimes.choice import EngineOptions
from selsa_bundle.default_bundle import synthetic_bundle
from selsa_bundle.runtimes.load import load_engines

loaded = [load_engines(synthetic_bundle(), EngineOptions(provider="openvino", precision="fp32"))]

def let_go():
    loaded.pop().engines.close()
    gc.collect()

thread = threading.Thread(target=let_go)
thread.start()
thread.join()
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_signals_are_handled_after_another_thread_has_closed_the_engines() -> None:
    """As in a server that unloads a bundle and is then told to drain."""
    done = subprocess.run(
        [sys.executable, "-c", CLOSED_ELSEWHERE], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("handled\n", 0)


def test_engines_that_were_closed_say_so() -> None:
    bundle = opened("fp32")
    bundle.engines.close()
    bundle.engines.close()
    with pytest.raises(EngineError, match="were closed"):
        bundle.engines.run_frames(bundle.gate.frames, bundle.gate.image_size)


def test_a_failure_names_the_shapes(fp32: LoadedBundle) -> None:
    with pytest.raises(EngineError, match=r"OpenVINO failed on frames \[1, 30, 32, 4\]"):
        fp32.engines.run_frames(np.zeros((1, 30, 32, 4), np.uint8), np.array([[30, 32]], np.int64))


@pytest.mark.parametrize(
    ("frame", "error", "named"),
    [
        ("sequence.onnx", ContractError, "the tensor contract has"),
        (None, EngineError, "OpenVINO cannot load"),
    ],
)
def test_a_file_that_is_no_frame_engine_is_refused(
    tmp_path: Path, frame: str | None, error: type[Exception], named: str
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a graph")
    folder = synthetic_bundle()
    path = tmp_path / "broken.onnx" if frame is None else folder / frame
    dims = load_engines(folder).manifest.dimensions
    with pytest.raises(error, match=named):
        OpenVinoEngines(path, folder / "sequence.onnx", dims, precision="fp32", threads=1)
