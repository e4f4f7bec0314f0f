"""What a selsa bundle is, and how to run one: the ground floor that every other package stands on.

A *bundle* is a folder with `manifest.json`, a frame engine and a sequence engine (ONNX). This package
describes it, checks it, prepares frames for it and runs it. It never imports torch, and
onnxruntime only in `load` and the runtimes, so that training needs no runtime.
"""

from selsa_bundle.engine import DetectionBatch, Engines, FrameBatch, ReferenceBank
from selsa_bundle.errors import BundleError, ChecksumError, ContractError, EngineError, ManifestError
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
