"""The choice of the bundle: named by option or environment, or the packaged default.

`selsa serve`, `selsa detect --local` and `selsa bench` use it. `everyday` and `synthetic` name the packaged
bundles, unless there is a folder of that name.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from selsa_bundle.default_bundle import bundle_folder, default_bundle
from selsa_bundle.errors import BundleError
from selsa_bundle.files.user_cache import user_cache
from selsa_bundle.manifest import Manifest

if TYPE_CHECKING:
    # It imports pydantic_settings, a tenth of the start of `selsa detect --local`.
    from selsa_server.settings import BundleSource

VARIABLE: Final = "SELSA_BUNDLE"


def choose_bundles(
    sources: "tuple[BundleSource, ...]", say: Callable[[str], None]
) -> "tuple[BundleSource, ...]":
    """The bundles that were named, or the packaged default, which `say` then reports.

    Bundles named by an address are downloaded, unless the cache has them.

    Raises:
        BundleError: a bundle cannot be downloaded; or none was named, and this build has no default or a
            damaged one.
    """
    from selsa_server.settings import BundleSource

    if sources:
        return tuple(each.model_copy(update={"path": _folder(each, say)}) for each in sources)
    return (BundleSource(name=None, path=_packaged(say)),)


def _folder(source: "BundleSource", say: Callable[[str], None]) -> Path:
    if source.address is None:
        return bundle_folder(source.path)
    from selsa_bundle.remote.fetch import Fetching, fetch_bundle
    from selsa_bundle.remote.progress import download_bar

    with download_bar("bundle") as progress:
        return fetch_bundle(source.address, Fetching(cache=user_cache(), say=say, progress=progress))


def choose_bundle(named: Path | None, say: Callable[[str], None]) -> Path:
    """One bundle's folder: `named`, else the first of SELSA_BUNDLE, else the packaged default.

    Raises:
        BundleError: SELSA_BUNDLE is not allowed; or as `choose_bundles`.
    """
    if named is not None:
        return bundle_folder(named)
    # Settings ignore the case of a variable.
    if not any(value for name, value in os.environ.items() if name.upper() == VARIABLE):
        return _packaged(say)
    from selsa_server.settings import BundleSettings

    try:
        sources = BundleSettings().bundle
    except ValidationError as error:
        first = error.errors()[0]
        raise BundleError(f"SELSA_BUNDLE is {first.get('input')!r}: {first['msg']}") from error
    return choose_bundles(sources, say)[0].path


def _packaged(say: Callable[[str], None]) -> Path:
    folder = default_bundle()
    manifest = Manifest.read(folder)
    title = manifest.name if manifest.about is None else manifest.about.title
    say(f"no bundle named: using the packaged model, {title} ({len(manifest.classes)} classes)")
    return folder
