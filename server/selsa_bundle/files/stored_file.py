"""A file of a bundle by its name, size and checksum."""

import hashlib
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from selsa_bundle.errors import ChecksumError

# A plain file name inside the bundle's folder: no separator, no parent, nothing hidden.
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class StoredFile(BaseModel):
    """A file of the bundle: its name, size in bytes and sha256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: FileName
    bytes: int = Field(gt=0)
    sha256: Sha256

    @classmethod
    def of(cls, path: Path) -> Self:
        """The description of an existing file."""
        return cls(file=path.name, bytes=path.stat().st_size, sha256=sha256_of(path))

    def verify(self, folder: Path) -> None:
        """Compare size and sha256 of the file in `folder` with this description.

        Raises:
            ChecksumError: it is missing or differs.
        """
        path = folder / self.file
        if not path.is_file():
            raise ChecksumError(f"{path} is missing; export the bundle again")
        size = path.stat().st_size
        if size != self.bytes:
            raise ChecksumError(f"{path} has {size} bytes, its manifest says {self.bytes}")
        found = sha256_of(path)
        if found != self.sha256:
            raise ChecksumError(f"{path} has sha256 {found}, its manifest says {self.sha256}")


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
