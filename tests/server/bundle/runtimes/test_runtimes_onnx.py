"""ONNX Runtime with bound inputs and banks that stay on the device; here the device is the CPU."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from selsa_bundle.bank import BankSlots
from selsa_bundle.default_bundle import synthetic_bundle
from selsa_bundle.engine import DetectionBatch, FrameBatch, ReferenceBank
from selsa_bundle.errors import EngineError
from selsa_bundle.gate.gate import run_gate
from selsa_bundle.runtimes.load import LoadedBundle, load_engines, prove_engines
from selsa_bundle.runtimes.onnx import OnnxEngines, RuntimeOptions
from selsa_bundle.runtimes.onnx_device import MOST_BANKS, ResidentBanks


@pytest.fixture(scope="module")
def plain() -> Iterator[LoadedBundle]:
    bundle = load_engines(synthetic_bundle())
    with closing(bundle.engines):
        yield bundle


@pytest.fixture(scope="module")
def bound(plain: LoadedBundle) -> Iterator[OnnxEngines]:
    folder = synthetic_bundle()
    options = RuntimeOptions(device="cpu")
    engines = OnnxEngines(folder / "frame.onnx", folder / "sequence.onnx", plain.manifest.dimensions, options)
    with closing(engines):
        yield engines


def features(bundle: LoadedBundle, frame: int) -> FrameBatch:
    return bundle.engines.run_frames(
        bundle.gate.frames[frame : frame + 1], bundle.gate.image_size[frame : frame + 1]
    )


def found(engines, bundle: LoadedBundle, batch: FrameBatch, bank: ReferenceBank) -> DetectionBatch:
    return engines.run_sequence(batch, bundle.gate.image_size[:1], bundle.gate.scale_factor[:1], bank)


def test_bound_inputs_give_the_same_bits(plain: LoadedBundle, bound: OnnxEngines) -> None:
    gate = plain.gate
    want, have = (
        run_gate(e, gate.frames, gate.image_size, gate.scale_factor) for e in (plain.engines, bound)
    )
    for name in ("boxes", "valid", "queries", "memory"):
        assert np.array_equal(getattr(want.batch, name), getattr(have.batch, name))
    assert np.array_equal(want.found.scores, have.found.scores)
    assert prove_engines(replace(plain, engines=bound)) is not None


def test_a_bank_that_changes_is_seen_to_change(plain: LoadedBundle, bound: OnnxEngines) -> None:
    first, second = features(plain, 0), features(plain, 1)
    slots = BankSlots(plain.manifest.dimensions, 2)
    for change in (
        lambda: slots.fill(0, first),
        lambda: slots.fill(1, second),
        lambda: slots.clear(0),
        lambda: None,
    ):
        change()
        want, have = (found(e, plain, first, slots.bank) for e in (plain.engines, bound))
        assert np.array_equal(want.scores, have.scores)
        assert np.array_equal(want.boxes, have.boxes)


def test_a_bank_is_copied_once_as_long_as_it_stays_the_same(plain: LoadedBundle) -> None:
    slots = BankSlots(plain.manifest.dimensions, 1)
    slots.fill(0, features(plain, 0))
    banks = ResidentBanks("cpu", plain.manifest.dimensions)
    before = banks.values(slots.bank)
    assert banks.values(slots.bank) is before
    slots.fill(0, features(plain, 1))
    assert banks.values(slots.bank) is not before


def test_a_bank_that_does_not_tell_is_copied_for_each_call_and_not_kept(plain: LoadedBundle) -> None:
    batch = features(plain, 0)
    banks = ResidentBanks("cpu", plain.manifest.dimensions)
    silent = ReferenceBank(memory=batch.memory[0], valid=batch.valid[0])
    assert banks.values(silent) is not banks.values(silent)
    assert len(banks) == 0


def test_only_so_many_banks_are_kept(plain: LoadedBundle) -> None:
    banks = ResidentBanks("cpu", plain.manifest.dimensions)
    slots = [BankSlots(plain.manifest.dimensions, 1) for _ in range(MOST_BANKS + 3)]
    for each in slots:
        banks.values(each.bank)
    assert len(banks) == MOST_BANKS
    banks.clear()
    assert len(banks) == 0


def test_a_device_that_is_not_there_is_one_error(plain: LoadedBundle) -> None:
    folder = synthetic_bundle()
    options = RuntimeOptions(device="cuda")
    engines = OnnxEngines(folder / "frame.onnx", folder / "sequence.onnx", plain.manifest.dimensions, options)
    batch = features(plain, 0)
    bank = ReferenceBank(memory=batch.memory[0], valid=batch.valid[0])
    with closing(engines), pytest.raises(EngineError, match=r"cannot put a bank of \d+ bytes on cuda"):
        found(engines, plain, batch, bank)
