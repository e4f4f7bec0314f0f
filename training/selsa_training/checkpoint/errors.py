"""Errors around checkpoints: reading, writing, importing and downloading them.

    CheckpointError
    ├── CheckpointFileError    a file or folder is missing, unreadable, or not what it should be
    ├── ChecksumMismatchError  a file is not the one its checksum describes
    ├── TensorsError           a tensor is missing, unexpected, of the wrong shape or type, or not finite
    ├── TargetExistsError      the place to write to is taken
    └── DownloadError          a published file could not be downloaded

The message is one sentence for the person at the command line.
"""


class CheckpointError(Exception):
    """Base of everything that can be wrong with a checkpoint."""


class CheckpointFileError(CheckpointError):
    """A file or folder is missing, unreadable, unwritable, or not what it should be."""


class ChecksumMismatchError(CheckpointError):
    """A file's sha256 is not the one that was promised."""


class TensorsError(CheckpointError):
    """The tensors are not those of the model; the message names them."""


class TargetExistsError(CheckpointError):
    """Something is already at the place to write to."""


class DownloadError(CheckpointError):
    """A published file could not be downloaded."""
