"""A family of models states its own tensors; contract, banks and gate follow from that."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from selsa_bundle.bank import BankSlots, SequenceBank
from selsa_bundle.contract import Dimensions, contract_for
from selsa_bundle.default_bundle import synthetic_bundle
from selsa_bundle.engine import DetectionBatch, FrameBatch, ReferenceBank, bank_feeds, sequence_feeds
from selsa_bundle.errors import ManifestError
from selsa_bundle.family import FAMILIES
from selsa_bundle.gate.check import compare_outputs
from selsa_bundle.gate.gate import Gate, GateOutputs, read_gate, write_gate
from selsa_bundle.manifest import MANIFEST_NAME, Manifest
from selsa_bundle.tensorrt.profiles import sequence_profiles

ONE_STAGE = Dimensions(
    family="one-stage",
    proposals=8,
    width=16,
    detections=5,
    classes=3,
    heads=2,
    key_width=4,
    bank_proposals=6,
)
PUBLISHED = Dimensions(proposals=8, width=16, stages=2, detections=5)
both_families = pytest.mark.parametrize("dims", [PUBLISHED, ONE_STAGE], ids=lambda dims: dims.family)


def frames(dims: Dimensions, count: int, seed: int = 0) -> FrameBatch:
    """Outputs of a frame engine: every value is different."""
    draw = np.random.default_rng(seed)
    tensors = {}
    for spec in contract_for("frame", dims).outputs:
        shape = [count if size == "B" else size for size in spec.shape]
        values = draw.uniform(0, 1, shape)
        tensors[spec.name] = values < 0.7 if spec.dtype == "bool" else values.astype(np.float32)
    corner = tensors["boxes"][..., :2] * 200
    tensors["boxes"] = np.concatenate([corner, corner + 40], -1)
    return FrameBatch(**tensors)


def test_a_one_stage_bundle_has_its_own_tensors() -> None:
    frame, sequence = contract_for("frame", ONE_STAGE), contract_for("sequence", ONE_STAGE)
    assert [str(spec) for spec in frame.outputs] == [
        "boxes float32 [B, 8, 4]",
        "valid bool [B, 8]",
        "logits float32 [B, 8, 3]",
        "points float32 [B, 8, 16]",
        "keys float32 [B, 2, 8, 4]",
    ]
    assert [str(spec) for spec in sequence.inputs[-3:]] == [
        "bank_logits float32 [R, 3]",
        "bank_keys float32 [2, R, 4]",
        "bank_valid bool [R]",
    ]


@both_families
def test_the_sequence_engine_is_fed_exactly_the_tensors_of_the_contract(dims: Dimensions) -> None:
    batch = frames(dims, 2)
    bank = ReferenceBank.of([batch], dims)
    size, scale = np.full((2, 2), 64), np.ones((2, 2), np.float32)
    feeds = {**sequence_feeds(dims, batch, size, scale), **bank_feeds(dims, bank)}
    specs = contract_for("sequence", dims).inputs
    assert list(feeds) == [spec.name for spec in specs]
    dynamic = {"B": 2, "R": 2 * dims.bank_rows}
    assert [array.shape for array in feeds.values()] == [
        tuple(dynamic.get(size, size) for size in spec.shape) for spec in specs
    ]


@both_families
def test_a_filled_bank_is_the_concatenation_of_its_frames(dims: Dimensions) -> None:
    batch = frames(dims, 3)
    slots = BankSlots(dims, 3)
    for slot in (2, 0, 1):
        slots.fill(slot, batch[slot : slot + 1])
    want = bank_feeds(dims, ReferenceBank.of([batch[:2], batch[2:]], dims))
    for name, array in bank_feeds(dims, slots.bank).items():
        assert np.array_equal(array, want[name]), name


def test_the_bank_keeps_the_first_proposals_of_a_frame_only() -> None:
    batch = frames(ONE_STAGE, 1)
    bank = ReferenceBank.of([batch, batch], ONE_STAGE)
    assert np.array_equal(bank.logits, np.concatenate([batch.logits[0, :6]] * 2))
    assert np.array_equal(bank.keys, np.concatenate([batch.keys[0, :, :6]] * 2, axis=1))
    (profile,) = sequence_profiles(ONE_STAGE, 14, 1)
    assert profile.sizes["R"].low == 6


@both_families
def test_a_reference_frame_is_recalled_with_every_tensor(dims: Dimensions) -> None:
    batch = frames(dims, 2)
    bank = SequenceBank(dims, [7, 9, 9])
    for row, index in enumerate(bank.wanted):
        bank.add(index, batch[row : row + 1])
    recalled = bank.recall(9)
    assert recalled is not None
    assert recalled.tensors.keys() == batch.tensors.keys()
    for name, array in recalled.tensors.items():
        assert np.array_equal(array, batch.tensors[name][1:]), name


@both_families
def test_a_gate_stores_and_compares_every_feature_of_the_family(dims: Dimensions, tmp_path: Path) -> None:
    batch, depth = frames(dims, 2), dims.detections
    found = DetectionBatch(
        boxes=np.zeros((2, depth, 4), np.float32),
        scores=np.zeros((2, depth), np.float32),
        labels=np.zeros((2, depth), np.int64),
        count=np.zeros(2, np.int64),
    )
    pixels, size = np.zeros((2, 32, 32, 3), np.uint8), np.full((2, 2), 32)
    gate = Gate.of(pixels, size, np.ones((2, 2), np.float32), GateOutputs(batch, found), dims)
    write_gate(tmp_path / "gate.npz", gate)
    read = read_gate(tmp_path / "gate.npz", dims)
    for feature in FAMILIES[dims.family].features:
        wrong = batch.replaced(**{feature.name: batch.tensors[feature.name] * np.float32(1.1)})
        off = compare_outputs(read, GateOutputs(wrong, found), 0.9, dims.tensors).features
        assert off[feature.name] == pytest.approx(0.1, abs=1e-3)
        assert [value for name, value in off.items() if name != feature.name] == [0.0] * (len(off) - 1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"stages": 2}, "stages is given; one-stage has"),
        ({"heads": None}, "heads is missing; one-stage has"),
        ({"bank_proposals": 9}, "at most 8"),
        ({"family": "two-stage"}, "faster-rcnn"),
    ],
)
def test_dimensions_that_do_not_belong_to_the_family_are_refused(
    change: dict[str, object], named: str
) -> None:
    with pytest.raises(ValidationError, match=named):
        Dimensions.model_validate({**ONE_STAGE.model_dump(), **change})


def test_a_manifest_of_the_published_family_is_written_as_before() -> None:
    """Its bytes are part of the bundle's digest."""
    raw = (synthetic_bundle() / MANIFEST_NAME).read_bytes()
    sizes = {"proposals", "width", "stages", "detections"}
    assert json.loads(raw)["dimensions"].keys() == sizes | {"names_proposals"}
    assert Manifest.parse(raw, Path(MANIFEST_NAME)).to_json() == raw
    # An older bundle, whose sequence engine does not name proposals.
    older = json.loads(raw)
    del older["dimensions"]["names_proposals"]
    outputs = older["engines"]["fp32"]["sequence"]["tensors"]["outputs"]
    outputs[:] = [each for each in outputs if each["name"] != "proposals"]
    for each in older["engines"].values():
        each["sequence"]["tensors"]["outputs"] = outputs
    again = Manifest.parse(json.dumps(older).encode(), Path(MANIFEST_NAME)).to_json()
    assert json.loads(again)["dimensions"].keys() == sizes
    assert json.loads(again) == older


def test_a_manifest_whose_tensors_belong_to_another_family_is_refused() -> None:
    content = json.loads((synthetic_bundle() / MANIFEST_NAME).read_bytes())
    content["dimensions"] = json.loads(ONE_STAGE.model_dump_json(exclude_none=True))
    with pytest.raises(ManifestError, match="not the tensor contract"):
        Manifest.parse(json.dumps(content).encode(), Path(MANIFEST_NAME))
