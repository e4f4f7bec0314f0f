"""The packaged bundle and sample video, used when none is named."""

from pathlib import Path
from typing import Final

from selsa_bundle.errors import BundleError
from selsa_bundle.manifest import MANIFEST_NAME

# They are in this folder, so that the wheel contains them.
_PACKAGE: Final = Path(__file__).resolve().parent
_REMEDY: Final = "install a released selsa, or train it with `make train-default`"


def default_bundle(package: Path = _PACKAGE) -> Path:
    """The folder of the packaged bundle.

    Raises:
        BundleError: this build of it has none.
    """
    folder = package / "default"
    if not (folder / MANIFEST_NAME).is_file():
        raise BundleError(
            f"This build of selsa has no packaged default bundle; name one (--bundle FOLDER), or {_REMEDY}."
        )
    return folder


def sample_video(package: Path = _PACKAGE) -> Path:
    """The packaged sample video: H.264 in MP4, not part of the default bundle's training data.

    Raises:
        BundleError: this build of it has none.
    """
    path = package / "sample.mp4"
    if not path.is_file():
        raise BundleError(
            f"This build of selsa has no packaged sample video; name another one, or {_REMEDY}."
        )
    return path
