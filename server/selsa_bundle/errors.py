"""Errors of the bundle.

BundleError
├── ManifestError    manifest.json is missing, unreadable or says something that is not allowed
├── ChecksumError    a file of the bundle is missing or is not the one the manifest describes
├── ContractError    an engine's inputs or outputs are not those of the tensor contract
├── ChoiceError      the provider or precision asked for is not to be had here, or not in this bundle
└── EngineError      an engine could not be created or failed while running
    ├── DeviceMemoryError  the device has no memory for what was asked of it, not even in smaller pieces
    └── GateError    an engine runs, and does not compute what this bundle's engines must
"""


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


class DeviceMemoryError(EngineError):
    """The device has no memory for what was asked of it; the server answers 507."""


class ChoiceError(BundleError):
    """The provider or precision asked for is not to be had on this machine, or not in this bundle."""


class GateError(EngineError):
    """An engine's outputs on the bundle's test frames lie outside the stated tolerance."""
