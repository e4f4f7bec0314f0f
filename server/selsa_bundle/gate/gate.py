"""The gate: a few frames with the outputs that a bundle's engines must have, run before a runtime is used.

A runtime that computes something else than its neighbours do (a driver's bug, saturating integer products, a
wrong kernel) answers as confidently as a right one. So the exporter puts two small frames and what torch made
of them into the bundle, and a runtime that is further from them than its precision explains is refused.

Shape legend: K frames, H and W their padded size, P proposals, T rows of each frame whose features are kept
(all of them would be megabytes), C feature width, S stages, D detections.
"""

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from selsa_bundle.contract import Dimensions
from selsa_bundle.engine import Bool, DetectionBatch, Engines, Float, FrameBatch, Int, ReferenceBank
from selsa_bundle.errors import ManifestError

GATE_NAME: Final = "gate.npz"
GATE_ROWS: Final = 16
MAX_FRAMES: Final = 8
MAX_SIDE: Final = 1024
MAX_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Inputs and the outputs they must have. The bank is the memory of all K frames, each a key frame.

    Attributes:
        frames: uint8 [K, H, W, 3], RGB, resized and padded.
        image_size: int64 [K, 2], (height, width) without the padding.
        scale_factor: float32 [K, 2], resized size / source size along (x, y).
        boxes: float32 [K, P, 4], proposals, xyxy in pixels of the resized frame.
        valid: bool [K, P].
        queries: float32 [K, T, C], of the first T proposals.
        memory: float32 [K, S, 2, T, C], of the first T proposals.
        detections: float32 [K, D, 4], xyxy in pixels of the source frame.
        scores: float32 [K, D].
        labels: int64 [K, D].
        count: int64 [K].
    """

    frames: npt.NDArray[np.uint8]
    image_size: Int
    scale_factor: Float
    boxes: Float
    valid: Bool
    queries: Float
    memory: Float
    detections: Float
    scores: Float
    labels: Int
    count: Int

    @staticmethod
    def of(
        frames: npt.NDArray[np.uint8], image_size: Int, scale_factor: Float, outputs: "GateOutputs"
    ) -> "Gate":
        """A gate of what some engines say to these frames."""
        batch, found = outputs.batch, outputs.found
        return Gate(
            frames=frames,
            image_size=image_size,
            scale_factor=scale_factor,
            boxes=batch.boxes,
            valid=batch.valid,
            queries=batch.queries[:, :GATE_ROWS],
            memory=batch.memory[:, :, :, :GATE_ROWS],
            detections=found.boxes,
            scores=found.scores,
            labels=found.labels,
            count=found.count,
        )


@dataclass(frozen=True, slots=True)
class GateOutputs:
    """What engines say to a gate's frames."""

    batch: FrameBatch
    found: DetectionBatch


def run_gate(
    engines: Engines, frames: npt.NDArray[np.uint8], image_size: Int, scale_factor: Float
) -> GateOutputs:
    """Both engines on the frames of a gate, as one batch.

    Raises:
        EngineError: an engine failed.
    """
    batch = engines.run_frames(frames, image_size)
    # [K, S, 2, P, C] -> [S, 2, K * P, C], frame by frame.
    memory = np.concatenate(list(batch.memory), axis=2)
    bank = ReferenceBank(memory=memory, valid=batch.valid.reshape(-1))
    return GateOutputs(batch, engines.run_sequence(batch, image_size, scale_factor, bank))


def write_gate(path: Path, gate: Gate) -> None:
    """Write a gate as a compressed numpy archive."""
    np.savez_compressed(path, **{field.name: getattr(gate, field.name) for field in fields(Gate)})


def read_gate(path: Path, dims: Dimensions) -> Gate:
    """Read a gate, every array checked.

    Raises:
        ManifestError: the file is no gate of a bundle with these dimensions.
    """
    try:
        _check_size(path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {field.name: archive[field.name] for field in fields(Gate)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ManifestError(f"{path} is no gate: {error}; export the bundle again") from error
    gate = Gate(**arrays)
    if wrong := _wrong_array(gate, dims):
        raise ManifestError(f"{path}: {wrong}")
    return gate


def _check_size(path: Path) -> None:
    """An archive says what it unpacks to; numpy would take any amount of memory for it."""
    with zipfile.ZipFile(path) as archive:
        total = sum(info.file_size for info in archive.infolist())
    if total > MAX_BYTES:
        raise ValueError(f"it unpacks to {total} bytes, at most {MAX_BYTES} are allowed")


def _wrong_array(gate: Gate, dims: Dimensions) -> str | None:
    if gate.frames.ndim != 4 or not 1 <= len(gate.frames) <= MAX_FRAMES:
        return f"frames is {list(gate.frames.shape)}, allowed is [1 to {MAX_FRAMES}, H, W, 3]"
    k, h, w, _ = gate.frames.shape
    if not (16 <= h <= MAX_SIDE and 16 <= w <= MAX_SIDE):
        return f"frames are {w}x{h}, allowed is 16 to {MAX_SIDE} a side"
    p, c, s, d = dims.proposals, dims.width, dims.stages, dims.detections
    rows = min(p, GATE_ROWS)
    expected: dict[str, tuple[type[Any], tuple[int, ...]]] = {
        "frames": (np.uint8, (k, h, w, 3)),
        "image_size": (np.int64, (k, 2)),
        "scale_factor": (np.float32, (k, 2)),
        "boxes": (np.float32, (k, p, 4)),
        "valid": (np.bool_, (k, p)),
        "queries": (np.float32, (k, rows, c)),
        "memory": (np.float32, (k, s, 2, rows, c)),
        "detections": (np.float32, (k, d, 4)),
        "scores": (np.float32, (k, d)),
        "labels": (np.int64, (k, d)),
        "count": (np.int64, (k,)),
    }
    for name, (dtype, shape) in expected.items():
        found = getattr(gate, name)
        if found.dtype != dtype or found.shape != shape:
            return f"{name} is {found.dtype} {list(found.shape)}, it must be {np.dtype(dtype)} {list(shape)}"
    return None
