"""What a selsa bundle is, and how to run one: the ground floor that every other package stands on.

A *bundle* is a folder with `manifest.json`, a frame engine and a sequence engine (ONNX). This package
describes it, checks it, prepares frames for it and runs it. It never imports torch, and
onnxruntime only in `load` and the runtimes, so that training needs no runtime.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from selsa_bundle.errors import BundleError, ChecksumError, ContractError, EngineError, ManifestError

if TYPE_CHECKING:
    from selsa_bundle.engine import DetectionBatch, Engines, FrameBatch, ReferenceBank
    from selsa_bundle.manifest import Manifest
    from selsa_bundle.preprocess import PreparedFrame, Preprocess

__all__ = [
    "BundleError",
    "ChecksumError",
    "ContractError",
    "DetectionBatch",
    "EngineError",
    "Engines",
    "FrameBatch",
    "Manifest",
    "ManifestError",
    "PreparedFrame",
    "Preprocess",
    "ReferenceBank",
]

# Unless told otherwise before it is imported, ONNX Runtime (1.29 and later) reports to its makers on the
# models that it loads. What people load is theirs to tell. Whoever wants the reports sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Imported when they are asked for: they bring NumPy and OpenCV, which a file's lock needs none of.
_LATER = {
    "DetectionBatch": "selsa_bundle.engine",
    "Engines": "selsa_bundle.engine",
    "FrameBatch": "selsa_bundle.engine",
    "Manifest": "selsa_bundle.manifest",
    "PreparedFrame": "selsa_bundle.preprocess",
    "Preprocess": "selsa_bundle.preprocess",
    "ReferenceBank": "selsa_bundle.engine",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
