"""The bundles and sample videos in the package, and the defaults among them."""

from pathlib import Path
from typing import Final, Literal

from selsa_bundle.errors import BundleError
from selsa_bundle.manifest import MANIFEST_NAME

PackagedName = Literal["everyday", "synthetic"]
PACKAGED: Final[tuple[PackagedName, ...]] = ("everyday", "synthetic")
# Beside this file, so that a wheel contains them.
_PACKAGE: Final = Path(__file__).resolve().parent
_REMEDY: Final = "install a released selsa, or train it with `make train-everyday`"


def packaged_bundle(name: PackagedName, package: Path = _PACKAGE) -> Path:
    """The folder of a packaged bundle.

    Raises:
        BundleError: this build has no bundle of that name.
    """
    folder = package / name
    if not (folder / MANIFEST_NAME).is_file():
        raise BundleError(
            f"This build of selsa has no packaged {name} bundle; name one (--bundle FOLDER), or {_REMEDY}."
        )
    return folder


def bundle_folder(named: Path | str) -> Path:
    """The folder of a bundle, given its path or the name of a packaged bundle.

    Raises:
        BundleError: this build has no packaged bundle of that name.
    """
    for name in PACKAGED:
        if str(named) == name and not Path(named).exists():
            return packaged_bundle(name)
    return Path(named)


def portable_name(folder: Path) -> str:
    """A bundle's name on all nodes of a cluster: a packaged bundle's name, otherwise the absolute path."""
    for name in PACKAGED:
        if folder == _PACKAGE / name:
            return name
    return str(folder.resolve())


def default_bundle(package: Path = _PACKAGE) -> Path:
    """The bundle that is used if none is named: COCO's 80 classes in ordinary videos.

    Raises:
        BundleError: this build of it has none.
    """
    return packaged_bundle("everyday", package)


def synthetic_bundle() -> Path:
    """The bundle trained on drawn sprites, for tests and for measuring what the sequence is worth.

    Raises:
        BundleError: this build of it has none.
    """
    return packaged_bundle("synthetic")


def sample_video(package: Path = _PACKAGE) -> Path:
    """A short real video for the default bundle, with bursts of damage: H.264 in MP4.

    Raises:
        BundleError: this build of it has none.
    """
    return _video("everyday.mp4", package)


def synthetic_video() -> Path:
    """A video of drawn sprites that the synthetic bundle never saw in training: H.264 in MP4.

    Raises:
        BundleError: this build of it has none.
    """
    return _video("sample.mp4", _PACKAGE)


def _video(name: str, package: Path) -> Path:
    path = package / name
    if not path.is_file():
        raise BundleError(
            f"This build of selsa has no packaged sample video; name another one, or {_REMEDY}."
        )
    return path
