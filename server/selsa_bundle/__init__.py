"""The bundle format, and the runtimes that run a bundle. All other packages build on this one.

A *bundle* is a folder with `manifest.json`, a frame engine and a sequence engine (ONNX). This package
describes it, checks it, prepares frames for it and runs it. It never imports torch. Only the runtimes import
onnxruntime, so that training needs no runtime.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from selsa_bundle.errors import BundleError, ChecksumError, ContractError, EngineError, ManifestError

if TYPE_CHECKING:
    from selsa_bundle.engine import DetectionBatch, Engines, FrameBatch, ReferenceBank
    from selsa_bundle.manifest import Manifest
    from selsa_bundle.preprocess import PreparedFrame, Preprocess
    from selsa_bundle.providers import PrecisionName, ProviderName

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
    "PrecisionName",
    "PreparedFrame",
    "Preprocess",
    "ProviderName",
    "ReferenceBank",
]

# ONNX Runtime (1.29 and later) sends telemetry about the models that it loads unless this is set before its
# import. Set the variable to 0 to send it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Imported on first use, since they bring NumPy and OpenCV.
_LATER = {
    "DetectionBatch": "selsa_bundle.engine",
    "Engines": "selsa_bundle.engine",
    "FrameBatch": "selsa_bundle.engine",
    "Manifest": "selsa_bundle.manifest",
    "PrecisionName": "selsa_bundle.providers",
    "PreparedFrame": "selsa_bundle.preprocess",
    "Preprocess": "selsa_bundle.preprocess",
    "ProviderName": "selsa_bundle.providers",
    "ReferenceBank": "selsa_bundle.engine",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
