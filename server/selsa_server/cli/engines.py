"""`selsa engines`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from selsa_bundle.tensorrt.engines import TensorRtPrecision
    from selsa_bundle.tensorrt.library import ComputeCapability, TensorRT

EXPECTED_ERROR: Final = 3
PRECISIONS: Final = ("fp32", "fp16", "int8")


def engines(
    bundle: Annotated[
        Path | None, typer.Argument(help="Folder of the bundle.  [default: the packaged one]")
    ] = None,
    sm: Annotated[
        list[str] | None,
        typer.Option(
            "--sm",
            help="Kind of GPU to build for, such as 86 or 120; may be repeated.  [default: the GPU of this "
            "machine]",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="What they compute in: fp32, fp16 or int8.")] = "fp32",
    max_batch: Annotated[int, typer.Option(min=1, max=256, help="Most frames in one call.")] = 8,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of built engines.  [default: selsa/engines in the user's cache]"),
    ] = None,
) -> None:
    """Build a bundle's TensorRT engines, for this machine's GPU or ahead for others.

    What is in the cache already is left as it is. The server builds what it lacks at its start.
    """
    from selsa_bundle.errors import BundleError
    from selsa_bundle.tensorrt.library import import_tensorrt
    from selsa_server.engines.bundle_choice import choose_bundle

    try:
        named = _named(precision)
        library = import_tensorrt()
        targets = _targets(library, sm or [])
        _build(choose_bundle(bundle, _say), library, targets, named, max_batch, cache)
    except BundleError as error:
        _say(f"error: {error}")
        raise typer.Exit(EXPECTED_ERROR) from error


def _build(
    folder: Path,
    library: "TensorRT",
    targets: "list[tuple[ComputeCapability, bool]]",
    precision: "TensorRtPrecision",
    max_batch: int,
    cache: Path | None,
) -> None:
    from selsa_bundle.manifest import Manifest
    from selsa_bundle.tensorrt.engines import TensorRtOptions, cached_engine

    manifest = Manifest.read(folder)
    options = TensorRtOptions(cache=cache, max_batch=max_batch, say=_say, progress=_progress())
    for target, here in targets:
        for engine in ("frame", "sequence"):
            path, plan = cached_engine(
                folder, manifest, engine, library, target, precision, options, here=here
            )
            typer.echo(f"{path}  {len(plan) / 2**20:.1f} MiB")
    _say("next: selsa serve, with the same bundle on that machine, finds them in this folder")


def _named(precision: str) -> "TensorRtPrecision":
    from selsa_bundle.errors import EngineError

    for name in PRECISIONS:
        if name == precision:
            return name
    raise EngineError(f"--precision is {precision!r}; allowed are {', '.join(PRECISIONS)}.")


def _targets(library: "TensorRT", named: list[str]) -> "list[tuple[ComputeCapability, bool]]":
    """The kinds of GPU, and whether each is this machine's."""
    from selsa_bundle.errors import EngineError
    from selsa_bundle.tensorrt.library import ComputeCapability

    try:
        asked = [ComputeCapability.parse(text) for text in named]
    except ValueError as error:
        raise EngineError(f"--sm: {error}.") from error
    if asked and library.targets:
        return [(target, False) for target in asked]
    own = _own(library, asked=bool(asked))
    return [(target, target == own) for target in asked or [own]]


def _own(library: "TensorRT", *, asked: bool) -> "ComputeCapability":
    from selsa_bundle.errors import EngineError
    from selsa_bundle.tensorrt.cuda_device import CudaDevice

    try:
        return CudaDevice().compute_capability
    except EngineError as error:
        remedy = f"{library.name} builds on the GPU it builds for"
        if library.targets and not asked:
            remedy = (
                f"name what to build for, --sm {', '.join(f'{t.major}{t.minor}' for t in library.targets)}"
            )
        raise EngineError(f"{error} Without a GPU here, {remedy}.") from error


def _progress() -> "Callable[[str, float], None]":
    """One line per tenth of a phase."""
    told: dict[str, int] = {}

    def progress(phase: str, share: float) -> None:
        tenths = int(share * 10)
        if told.get(phase) != tenths:
            told[phase] = tenths
            _say(f"  {phase}: {tenths * 10}%")

    return progress


def _say(text: str) -> None:
    typer.echo(text, err=True)
