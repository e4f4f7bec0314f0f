"""`selsa sample`, and the packaged models for `selsa models`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

EXIT_CANNOT_WRITE: Final = 3


def sample(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The new file.", show_default=False)
    ],
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Write the packaged sample video, an MP4, to a file."""
    from selsa_bundle.default_bundle import sample_video
    from selsa_bundle.errors import BundleError

    try:
        with output.open("wb" if overwrite else "xb") as file:
            file.write(sample_video().read_bytes())
    except BundleError as error:
        raise _refusal(str(error)) from error
    except FileExistsError as error:
        raise _refusal(f"{output} exists; name another file, or add --overwrite") from error
    except OSError as error:
        raise _refusal(f"cannot write {output}: {error.strerror or error}") from error
    typer.echo(f"wrote {output}; next: selsa detect {output} --local", err=True)


def packaged_models() -> Iterator[dict[str, Any]]:
    """The models that can be served at once; the entry point `packaged` of the group `selsa.models`."""
    from selsa_bundle.default_bundle import PACKAGED, packaged_bundle
    from selsa_bundle.errors import BundleError
    from selsa_bundle.manifest import Manifest

    for name in PACKAGED:
        try:
            manifest = Manifest.read(packaged_bundle(name))
        except BundleError:
            continue
        about = manifest.about
        yield {
            "name": name,
            "title": manifest.name if about is None else about.title,
            "description": "" if about is None else about.description,
            "warning": None if about is None else about.warning,
            "classes": len(manifest.classes),
            "command": f"selsa serve --bundle {name}",
        }


def _refusal(reason: str) -> typer.Exit:
    typer.echo(f"selsa sample: {reason}", err=True)
    return typer.Exit(EXIT_CANNOT_WRITE)
