"""Errors around checkpoints. The message is one sentence for the person at the command line."""


class CheckpointError(Exception):
    """Base of all errors of checkpoints."""


class CheckpointFileError(CheckpointError):
    """A file or folder is missing, unreadable, unwritable, or of the wrong kind."""


class ChecksumMismatchError(CheckpointError):
    """A file's sha256 is not the expected one."""


class TensorsError(CheckpointError):
    """The tensors are not those of the model; the message names them."""


class DownloadError(CheckpointError):
    """A published file could not be downloaded."""
