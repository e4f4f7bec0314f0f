"""Errors of the bundle.

BundleError
├── ManifestError    manifest.json is missing, unreadable or says something that is not allowed
├── ChecksumError    a file of the bundle is missing or is not the one the manifest describes
├── ContractError    an engine's inputs or outputs are not those of the tensor contract
└── EngineError      an engine could not be created or failed while running
"""

__all__ = ["BundleError", "ChecksumError", "ContractError", "EngineError", "ManifestError"]


class BundleError(Exception):
    """Base of everything that can be wrong with a bundle. The message is one sentence for its owner."""


class ManifestError(BundleError):
    """`manifest.json` is missing, unreadable or holds a value that is not allowed."""


class ChecksumError(BundleError):
    """A file of the bundle is missing, or its size or sha256 differs from the manifest's."""


class ContractError(BundleError):
    """An engine's tensors differ from the tensor contract in name, type or shape."""


class EngineError(BundleError):
    """The runtime could not create an engine, or an engine failed on valid input."""
