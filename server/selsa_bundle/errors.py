"""Errors of a bundle."""


class BundleError(Exception):
    """Base of all errors of a bundle. The message is one sentence for the user."""


class ManifestError(BundleError):
    """`manifest.json` is missing, unreadable or holds a value that is not allowed."""


class ChecksumError(BundleError):
    """A file of the bundle is missing, or its size or sha256 differs from the manifest's."""


class ContractError(BundleError):
    """An engine's tensors differ from the tensor contract in name, type or shape."""


class EngineError(BundleError):
    """The runtime could not create an engine, or an engine failed on valid input."""


class DeviceMemoryError(EngineError):
    """The device has too little memory for the call."""


class DownloadError(BundleError):
    """A file could not be downloaded."""


class PackedError(BundleError):
    """A file is no packed bundle, or one whose contents are not what its manifest says."""


class ChoiceError(BundleError):
    """This machine or bundle does not have the requested provider or precision."""


class GateError(EngineError):
    """An engine's outputs on the bundle's test frames lie outside the stated tolerance."""
