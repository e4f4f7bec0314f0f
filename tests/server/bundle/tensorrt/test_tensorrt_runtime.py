"""The TensorRT runtime on a simulated GPU gives what ONNX Runtime gives, however it has to cut a call."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from simulated_gpu import SimulatedGpu, SimulatedTensorRt

from selsa_bundle.bank import BankSlots
from selsa_bundle.default_bundle import synthetic_bundle
from selsa_bundle.engine import DetectionBatch, FrameBatch, ReferenceBank
from selsa_bundle.errors import DeviceMemoryError, EngineError
from selsa_bundle.manifest import Manifest
from selsa_bundle.runtimes.load import load_engines
from selsa_bundle.tensorrt.cuda_device import CudaDevice
from selsa_bundle.tensorrt.profiles import frame_profiles, sequence_profiles, tensor_bytes
from selsa_bundle.tensorrt.runtime import Plan, TensorRtEngines
from selsa_server.errors import EngineFailureError
from selsa_server.pipeline.inference import Inference
from selsa_server.run_context import Stopwatch

HEIGHT, WIDTH = 96, 128


@pytest.fixture(scope="module")
def bundle():
    loaded = load_engines(synthetic_bundle())
    yield loaded
    loaded.engines.close()


class Machine:
    """Engines of the packaged bundle on a simulated GPU."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        limit: int = 1 << 40,
        max_batch: int = 4,
        workers: int = 2,
        library: str = "tensorrt",
    ) -> None:
        folder = synthetic_bundle()
        dims = manifest.dimensions
        self.gpu = SimulatedGpu(limit)
        self.profiles = {
            "frame": frame_profiles(manifest.preprocess, max_batch),
            "sequence": sequence_profiles(dims, manifest.reference_frames, max_batch),
        }
        self.trt = SimulatedTensorRt(self.gpu, {name: list(p) for name, p in self.profiles.items()})
        self.plans = {
            name: Plan(str(folder / f"{name}.onnx").encode(), profiles)
            for name, profiles in self.profiles.items()
        }
        self.said: list[str] = []
        self.engines = TensorRtEngines(
            self.trt.library(library),
            self.plans,
            dims,
            self.gpu,
            precision="fp32",
            workers=workers,
            say=self.said.append,
        )


@pytest.fixture
def machine(bundle) -> Iterator[Machine]:
    made = Machine(bundle.manifest)
    yield made
    made.engines.close()
    assert made.gpu.memory == {}
    assert made.gpu.pinned == {}
    assert made.gpu.streams == set()


def frames(count: int, height: int = HEIGHT, width: int = WIDTH) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    pixels = rng.integers(0, 256, (count, height, width, 3), np.uint8)
    return pixels, np.array([[height - i % 3, width - i % 5] for i in range(count)], np.int64)


def same_features(a: FrameBatch, b: FrameBatch) -> None:
    for name in ("boxes", "valid", "queries", "memory"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name


def same_detections(a: DetectionBatch, b: DetectionBatch) -> None:
    for name in ("boxes", "scores", "labels", "count"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name


def filled(bundle, references: int) -> BankSlots:
    slots = BankSlots(bundle.manifest.dimensions, references)
    features = bundle.engines.run_frames(*frames(references))
    for slot in range(references):
        slots.fill(slot, features[slot : slot + 1])
    return slots


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_a_batch_of_any_size_is_what_each_frame_gives_alone(bundle, machine: Machine, count: int) -> None:
    pixels, sizes = frames(count)
    found = machine.engines.run_frames(pixels, sizes)
    alone = [bundle.engines.run_frames(pixels[i : i + 1], sizes[i : i + 1]) for i in range(count)]
    same_features(found, FrameBatch.concatenate(alone))
    wanted = {1: [1], 3: [3], 4: [4], 9: [4, 4, 1]}[count]
    assert [batch for _, batch in machine.trt.engines["frame"].calls] == wanted


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("references", [1, 3])
def test_key_frames_share_a_bank(bundle, machine: Machine, count: int, references: int) -> None:
    pixels, sizes = frames(count)
    scales = np.full((count, 2), 0.5, np.float32)
    features = bundle.engines.run_frames(pixels, sizes)
    bank = filled(bundle, references).bank
    found = machine.engines.run_sequence(features, sizes, scales, bank)
    parts = [
        bundle.engines.run_sequence(features[i : i + 1], sizes[i : i + 1], scales[i : i + 1], bank)
        for i in range(count)
    ]
    for i, part in enumerate(parts):
        row = slice(i, i + 1)
        same_detections(
            DetectionBatch(
                boxes=found.boxes[row],
                scores=found.scores[row],
                labels=found.labels[row],
                count=found.count[row],
            ),
            part,
        )


def test_a_bank_crosses_the_bus_once_and_again_only_when_it_has_changed(bundle, machine: Machine) -> None:
    pixels, sizes = frames(1)
    scales = np.ones((1, 2), np.float32)
    features = bundle.engines.run_frames(pixels, sizes)
    slots = filled(bundle, 3)
    size = slots.bank.memory.nbytes + slots.bank.valid.nbytes

    def crossed(bank: ReferenceBank) -> int:
        before = machine.gpu.uploaded
        found = machine.engines.run_sequence(features, sizes, scales, bank)
        same_detections(found, bundle.engines.run_sequence(features, sizes, scales, bank))
        return machine.gpu.uploaded - before

    first, second = crossed(slots.bank), crossed(slots.bank)
    assert first - second == size
    slots.clear(1)
    assert crossed(slots.bank) == first
    assert crossed(slots.bank) == second
    untracked = ReferenceBank(memory=slots.bank.memory, valid=slots.bank.valid)
    assert [crossed(untracked), crossed(untracked)] == [first, first]


def test_a_gpu_too_small_for_the_batch_runs_smaller_ones_and_says_so_once(bundle) -> None:
    profiles = frame_profiles(bundle.manifest.preprocess, 4)
    one, four = (sum(tensor_bytes("frame", bundle.manifest.dimensions, p).values()) for p in profiles[-2:])
    small = Machine(bundle.manifest, limit=one + (four - one) // 2, workers=1)
    pixels, sizes = frames(3)
    same_features(small.engines.run_frames(pixels, sizes), bundle.engines.run_frames(pixels, sizes))
    same_features(small.engines.run_frames(pixels, sizes), bundle.engines.run_frames(pixels, sizes))
    assert [batch for _, batch in small.trt.engines["frame"].calls] == [1] * 6
    assert len(small.said) == 1
    assert "runs without batches of 4" in small.said[0]
    small.engines.close()
    assert small.gpu.memory == {}


def test_a_gpu_too_small_for_one_frame_says_so(bundle) -> None:
    tiny = Machine(bundle.manifest, limit=1000)
    with pytest.raises(DeviceMemoryError, match="no memory for a single frame in the frame engine"):
        tiny.engines.run_frames(*frames(2))
    assert tiny.gpu.memory == {}
    assert tiny.gpu.pinned == {}
    tiny.engines.close()


def test_a_frame_that_no_profile_takes_is_named_with_what_is_allowed(machine: Machine) -> None:
    with pytest.raises(EngineError, match=r"takes H=16, W=4096; it has wide-1: B 1 to 1, H "):
        machine.engines.run_frames(np.zeros((1, 16, 4096, 3), np.uint8), np.array([[16, 4096]], np.int64))


def test_more_threads_than_workers_get_their_own_answers(bundle, machine: Machine) -> None:
    wanted = {count: bundle.engines.run_frames(*frames(count)) for count in (1, 2, 3)}
    found: list[tuple[int, FrameBatch]] = []

    def call(count: int) -> None:
        found.append((count, machine.engines.run_frames(*frames(count))))

    threads = [threading.Thread(target=call, args=(count,)) for count in (1, 2, 3, 1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    for count, features in found:
        same_features(features, wanted[count])


def test_closed_engines_only_raise_and_may_be_closed_again(bundle) -> None:
    machine = Machine(bundle.manifest)
    machine.engines.close()
    machine.engines.close()
    for _ in range(2):
        with pytest.raises(EngineError, match="were closed"):
            machine.engines.run_frames(*frames(1))


def test_tensorrt_rtx_takes_its_settings_in_its_own_way(bundle) -> None:
    machine = Machine(bundle.manifest, library="tensorrt_rtx")
    pixels, sizes = frames(2)
    same_features(machine.engines.run_frames(pixels, sizes), bundle.engines.run_frames(pixels, sizes))
    assert machine.engines.info.provider == "TensorRT-RTX 1.2.3.4"
    machine.engines.close()
    assert machine.gpu.memory == {}


def test_an_engine_that_cannot_be_loaded_is_named(bundle) -> None:
    machine = Machine(bundle.manifest)
    plans = {**machine.plans, "frame": Plan(b"damaged", machine.profiles["frame"])}
    with pytest.raises(EngineError, match="cannot load the frame engine"):
        TensorRtEngines(
            machine.trt.library(), plans, bundle.manifest.dimensions, machine.gpu, precision="fp32"
        )
    machine.engines.close()


def test_a_machine_without_a_driver_says_so_in_one_sentence() -> None:
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    try:
        CudaDevice()
    except EngineError as error:
        assert "no NVIDIA" in str(error)
        assert "\n" not in str(error)
    else:
        pytest.skip("this machine has an NVIDIA GPU")


def test_no_memory_for_a_frame_is_told_to_the_caller_as_507(bundle) -> None:
    tiny = Machine(bundle.manifest, limit=1000)
    frame = bundle.manifest.preprocess.prepare(np.zeros((90, 120, 3), np.uint8))
    with pytest.raises(EngineFailureError, match="no memory for a single frame") as raised:
        Inference(tiny.engines, Stopwatch(["frame_engine"])).frames([frame])
    assert raised.value.code == "engine_memory"
    tiny.engines.close()
