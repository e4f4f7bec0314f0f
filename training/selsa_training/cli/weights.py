"""`selsa import`, `selsa pull` and `selsa init`: commands that write a checkpoint.

Results go to stdout, messages to stderr. Torch is imported inside the commands to keep `selsa --help` fast.
"""

import re
from pathlib import Path
from typing import Annotated, Final

import typer

from selsa_bundle.files.user_cache import user_cache
from selsa_training.cli.command_line import expected_errors, say

# As a bundle's manifest allows it.
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an older checkpoint.")]


def import_published(
    file: Annotated[Path, typer.Argument(help="A .pth file of mmtracking.", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the new checkpoint.", show_default=False)
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the model; after its architecture if not given.")
    ] = None,
    *,
    ema: Annotated[
        bool, typer.Option("--ema", help="Take the averaged weights (names that begin with ema_).")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Convert a SELSA checkpoint of mmtracking. No code in the file is run."""
    with expected_errors():
        _import(file, output, name, ema=ema, overwrite=overwrite)
        say(_wrote(output))
        typer.echo(output)


def pull(
    name: Annotated[
        str,
        typer.Argument(
            help="A published checkpoint (r50-dc5, r50-dc5-fp16, r101-dc5 or x101-dc5), or a bundle: "
            "https://HOST/PATH#sha256=HEX, hf://OWNER/NAME[@REVISION] or s3://BUCKET/PATH.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Also import the checkpoint, or copy the bundle, into this folder.",
            show_default=False,
        ),
    ] = None,
    mirror: Annotated[
        list[str] | None,
        typer.Option(
            help="Server to try first for a checkpoint; may be repeated.",
            metavar="ADDRESS",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,  # noqa: FBT002  typer makes a flag of it
) -> None:
    """Download a published checkpoint or a bundle, or find it in the cache; prints where it is."""
    from selsa_bundle.remote.addresses import is_address
    from selsa_bundle.remote.progress import download_bar

    with expected_errors():
        if is_address(name):
            _pull_bundle(name, output, overwrite=overwrite)
            return
        from selsa_training.published.pull import MIRRORS
        from selsa_training.published.pull import pull as pull_file

        if output is not None:
            from selsa_training.checkpoint.checkpoint import check_target

            check_target(output, overwrite=overwrite)
        mirrors = (*(mirror or ()), *MIRRORS)
        with download_bar(name) as progress:
            path = pull_file(name, user_cache(), mirrors=mirrors, progress=progress, say=say)
        if output is None:
            say(f"downloaded {path}; next: selsa import {path} -o {name}")
            typer.echo(path)
            return
        # Named as it was asked for: the fp16 model has the tensors of the other.
        _import(path, output, name, overwrite=overwrite)
        say(_wrote(output))
        typer.echo(output)


def _pull_bundle(address: str, output: Path | None, *, overwrite: bool) -> None:
    from selsa_bundle.files.new_folder import check_target
    from selsa_bundle.manifest import MANIFEST_NAME
    from selsa_bundle.remote.fetch import Fetching, copy_bundle, fetch_bundle
    from selsa_bundle.remote.progress import download_bar

    if output is not None:
        check_target(output, marker=MANIFEST_NAME, overwrite=overwrite)
    with download_bar("bundle") as progress:
        folder = fetch_bundle(address, Fetching(cache=user_cache(), say=say, progress=progress))
    if output is not None:
        copy_bundle(folder, output, overwrite=overwrite)
        folder = output
    say(f"next: selsa serve --bundle {folder}")
    typer.echo(folder)


def init(
    config: Annotated[
        str, typer.Argument(help="r18-dc5, r50-dc5, r101-dc5 or x101-dc5.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the new checkpoint.", show_default=False)
    ],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same weights.")] = 0,
    overwrite: Overwrite = False,  # noqa: FBT002  typer makes a flag of it
) -> None:
    """Make a checkpoint with untrained weights, for trying things out and for measurements."""
    from selsa_training.checkpoint.checkpoint import check_target, save_checkpoint
    from selsa_training.checkpoint.errors import CheckpointError
    from selsa_training.checkpoint.untrained import UNTRAINED, untrained_tensors
    from selsa_training.config import CONFIGS

    with expected_errors():
        if config not in CONFIGS:
            raise CheckpointError(f"no configuration is called {config!r}; known are {', '.join(CONFIGS)}")
        check_target(output, overwrite=overwrite)
        tensors = untrained_tensors(CONFIGS[config], seed)
        save_checkpoint(output, CONFIGS[config], tensors, f"{UNTRAINED}, seed {seed}", overwrite=overwrite)
        say("these weights are untrained: the detections of the model are meaningless")
        say(_wrote(output))
        typer.echo(output)


def _wrote(checkpoint: Path) -> str:
    return f"wrote the checkpoint {checkpoint}; next: selsa export {checkpoint} -o {checkpoint}.bundle"


def _import(file: Path, output: Path, name: str | None, *, overwrite: bool, ema: bool = False) -> None:
    from selsa_training.checkpoint.checkpoint import check_target, save_checkpoint
    from selsa_training.checkpoint.errors import CheckpointError
    from selsa_training.published.import_published import import_published as import_file

    if name is not None and not NAME.fullmatch(name):
        raise CheckpointError(
            f"--name {name!r} is not allowed: at most 64 letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    check_target(output, overwrite=overwrite)
    config, tensors, origin, notes = import_file(file, ema=ema)
    if name is not None:
        config = config.model_copy(update={"name": name})
    save_checkpoint(output, config, tensors, origin, overwrite=overwrite)
    for line in (
        f"{config.name}: {config.backbone}, {len(config.classes)} classes, {len(tensors)} tensors",
        *notes,
    ):
        say(line)
