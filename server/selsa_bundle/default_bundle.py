"""The bundle and the sample video that come with the package, for whoever names none."""

from pathlib import Path
from typing import Final

from selsa_bundle.errors import BundleError
from selsa_bundle.manifest import MANIFEST_NAME

# They lie beside this file, so that a wheel carries them.
_PACKAGE: Final = Path(__file__).resolve().parent
_REMEDY: Final = "install a released selsa, or train it with `make train-default`"


def default_bundle(package: Path = _PACKAGE) -> Path:
    """The folder of the default bundle that `package` has.

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
    """The sample video that `package` has: H.264 in MP4, of what the default bundle never saw in training.

    Raises:
        BundleError: this build of it has none.
    """
    path = package / "sample.mp4"
    if not path.is_file():
        raise BundleError(
            f"This build of selsa has no packaged sample video; name another one, or {_REMEDY}."
        )
    return path
