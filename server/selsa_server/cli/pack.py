"""`selsa pack`."""

from pathlib import Path
from typing import Annotated, Final

import typer

EXIT_CANNOT_PACK: Final = 3


def pack(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File to write; default: FOLDER.selsa.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older file.")] = False,  # noqa: FBT002
) -> None:
    """Pack a bundle into one file, which `selsa pull` and `selsa serve --bundle` take by its address."""
    from selsa_bundle.default_bundle import bundle_folder
    from selsa_bundle.errors import BundleError
    from selsa_bundle.remote.packed import SUFFIX
    from selsa_bundle.remote.packed import pack as pack_bundle

    try:
        folder = bundle_folder(bundle)
        file = output or Path(folder.resolve().name + SUFFIX)
        if file.exists() and not overwrite:
            raise BundleError(f"{file} already exists; pass --overwrite to replace it")
        digest = pack_bundle(folder, file)
    except (BundleError, OSError) as error:
        typer.echo(f"selsa pack: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(EXIT_CANNOT_PACK) from error
    address = f"https://HOST/{file.name}#sha256={digest}"
    typer.echo(f"wrote {file}; put it on a server, then: selsa pull {address}", err=True)
    typer.echo(f"{digest}  {file}")
