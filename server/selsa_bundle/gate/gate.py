"""The gate: a few frames with the outputs that a bundle's engines must give, run before a runtime is used.

A runtime that computes wrongly (a driver's bug, saturating integer products, a wrong kernel) raises no error.
So the exporter stores two small frames and torch's outputs for them in the bundle, and a runtime that differs
by more than its precision explains is refused.

K frames, H and W their padded size, T rows of each frame whose features are stored (all of them would be
megabytes); the other letters are those of `selsa_bundle.contract`.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from selsa_bundle.contract import Dimensions, TensorSpec, contract_for
from selsa_bundle.engine import DetectionBatch, Engines, Float, FrameBatch, Int, ReferenceBank
from selsa_bundle.errors import ManifestError

GATE_NAME: Final = "gate.npz"
GATE_ROWS: Final = 16
MAX_FRAMES: Final = 8
MAX_SIDE: Final = 1024
MAX_BYTES: Final = 64 << 20
INPUTS: Final = ("frames", "image_size", "scale_factor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Inputs and expected outputs. The bank holds all K frames, and each of them is a key frame.

    Attributes:
        frames: uint8 [K, H, W, 3], RGB, resized and padded.
        image_size: int64 [K, 2], (height, width) without the padding.
        scale_factor: float32 [K, 2], resized size / source size along (x, y).
        batch: the frame engine's outputs; features of the first T proposals only.
    """

    frames: npt.NDArray[np.uint8]
    image_size: Int
    scale_factor: Float
    batch: FrameBatch
    found: DetectionBatch

    @staticmethod
    def of(
        frames: npt.NDArray[np.uint8],
        image_size: Int,
        scale_factor: Float,
        outputs: "GateOutputs",
        dims: Dimensions,
    ) -> "Gate":
        """A gate of these frames and of some engines' outputs for them."""
        batch, rows = outputs.batch, slice(GATE_ROWS)
        stored = {f.name: f.rows(batch.tensors[f.name], rows) for f in dims.tensors.features}
        return Gate(
            frames=frames,
            image_size=image_size,
            scale_factor=scale_factor,
            batch=batch.replaced(**stored),
            found=outputs.found,
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Every array by its name in the file."""
        inputs = {name: getattr(self, name) for name in INPUTS}
        return {**inputs, **self.batch.tensors, **self.found.outputs()}


@dataclass(frozen=True, slots=True)
class GateOutputs:
    """Engines' outputs for a gate's frames."""

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
    bank = ReferenceBank.of([batch], engines.dimensions)
    return GateOutputs(batch, engines.run_sequence(batch, image_size, scale_factor, bank))


def write_gate(path: Path, gate: Gate) -> None:
    """Write a gate as a compressed NumPy archive."""
    np.savez_compressed(path, **gate.arrays())  # type: ignore[arg-type]


def read_gate(path: Path, dims: Dimensions) -> Gate:
    """Read a gate and check every array.

    Raises:
        ManifestError: the file is no gate of a bundle with these dimensions.
    """
    shapes = _shapes(dims)
    try:
        _check_size(path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in shapes}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ManifestError(f"{path} is no gate: {error}; export the bundle again") from error
    if wrong := _wrong_array(arrays, shapes):
        raise ManifestError(f"{path}: {wrong}")
    inputs = {name: arrays[name] for name in INPUTS}
    known = {spec.name: arrays[spec.name] for spec in contract_for("frame", dims).outputs}
    return Gate(**inputs, batch=FrameBatch(**known), found=DetectionBatch.from_outputs(arrays))


def _check_size(path: Path) -> None:
    """Look at the unpacked size that the archive states: NumPy would allocate any amount."""
    with zipfile.ZipFile(path) as archive:
        total = sum(info.file_size for info in archive.infolist())
    if total > MAX_BYTES:
        raise ValueError(f"it unpacks to {total} bytes, at most {MAX_BYTES} are allowed")


def _shapes(dims: Dimensions) -> dict[str, TensorSpec]:
    """Every array of the file with its type and shape; B is K."""
    frame, sequence = contract_for("frame", dims), contract_for("sequence", dims)
    scale = next(spec for spec in sequence.inputs if spec.name == "scale_factor")
    features = {f.name: f for f in dims.tensors.features}
    rows = min(dims.proposals, GATE_ROWS)
    shapes = {}
    for spec in (*frame.inputs, scale, *frame.outputs, *sequence.outputs):
        shape = list(spec.shape)
        if feature := features.get(spec.name):
            shape[feature.axis] = rows
        shapes[spec.name] = spec.model_copy(update={"shape": tuple(shape)})
    return shapes


def _wrong_array(arrays: dict[str, npt.NDArray[Any]], shapes: dict[str, TensorSpec]) -> str | None:
    frames = arrays["frames"]
    if frames.ndim != 4 or not 1 <= len(frames) <= MAX_FRAMES:
        return f"frames is {list(frames.shape)}, allowed is [1 to {MAX_FRAMES}, H, W, 3]"
    k, h, w, _ = frames.shape
    if not (16 <= h <= MAX_SIDE and 16 <= w <= MAX_SIDE):
        return f"frames are {w}x{h}, allowed is 16 to {MAX_SIDE} a side"
    sizes = {"B": k, "H": h, "W": w}
    for name, spec in shapes.items():
        found = arrays[name]
        shape = tuple(sizes[size] if isinstance(size, str) else size for size in spec.shape)
        if found.dtype != np.dtype(spec.dtype) or found.shape != shape:
            return f"{name} is {found.dtype} {list(found.shape)}, it must be {spec.dtype} {list(shape)}"
    return None
