"""The checks of `selsa doctor` for a bundle: its integrity, and the providers that run it here."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from selsa_bundle.errors import BundleError, GateError
from selsa_bundle.manifest import Manifest
from selsa_bundle.precision_report import PrecisionReport, read_precisions
from selsa_bundle.providers import ProviderKind
from selsa_bundle.runtimes.choice import GRAPHS, EngineOptions, choose
from selsa_bundle.runtimes.host import Host
from selsa_bundle.runtimes.load import load_engines, verify_bundle
from selsa_bundle.tolerance import Precision
from selsa_server.engines.bundle_choice import choose_bundle
from selsa_server.engines.readiness import run_one_frame
from selsa_server.schema.doctor import Finding, Status

GPU_KINDS: Final[tuple[ProviderKind, ...]] = ("cuda", "tensorrt")


def bundle_findings(named: Path | None, host: Host, *, gpu: bool) -> Iterator[Finding]:
    """Whether a bundle is whole, and its engines on every provider that this machine has.

    Args:
        named: its folder; None: SELSA_BUNDLE, or the packaged default.
        gpu: whether there is a GPU's driver.
    """
    try:
        folder = choose_bundle(named, lambda _: None)
        manifest, digest = verify_bundle(folder)
        report = None if manifest.precisions is None else read_precisions(folder / manifest.precisions.file)
    except (BundleError, OSError) as error:
        remedy = "name another one with --bundle, or export it again (selsa export)"
        yield Finding(status="fail", subject="bundle", text=str(error), remedy=remedy)
        return
    engines = ", ".join(manifest.engines)
    text = f"{manifest.name}, {digest[:19]}, whole, with {engines} engines, in {folder}"
    yield Finding(status="ok", subject="bundle", text=text)
    yield from _ways(folder, manifest, report, host, gpu=gpu)
    yield _chosen(manifest, report, host)


def _ways(
    folder: Path, manifest: Manifest, report: PrecisionReport | None, host: Host, *, gpu: bool
) -> Iterator[Finding]:
    """Every provider and precision that the bundle has graphs for."""
    for (provider, precision), graphs in GRAPHS.items():
        if not set(graphs) & set(manifest.engines):
            continue
        subject = f"{precision} on {provider}"
        lack = host.lacks(provider) or host.cannot(provider, precision, manifest.weight_bits or 8)
        if lack is None and provider in GPU_KINDS and not gpu:
            lack = "there is no NVIDIA driver here"
        if lack is None:
            measured = report is not None and report.of(provider, precision) is not None
            yield _run(folder, provider, precision, subject, promised=measured or precision == "fp32")
        elif precision == "fp32":
            text, _, remedy = lack.partition(": ")
            status: Status = "unavailable" if provider in GPU_KINDS and not gpu else "missing"
            yield Finding(
                status=status, subject=subject, text=f"not available: {text}", remedy=remedy or None
            )


def _run(
    folder: Path, provider: ProviderKind, precision: Precision, subject: str, *, promised: bool
) -> Finding:
    """Run the test frames. A precision that the bundle's report does not have is not promised to work."""
    options = EngineOptions(provider=provider, precision=precision)
    try:
        loaded = load_engines(folder, options)
        try:
            run_one_frame(loaded)  # also warms it up
            started = time.perf_counter()
            run_one_frame(loaded)
            seconds = time.perf_counter() - started
        finally:
            loaded.engines.close()
    except GateError as error:
        remedy = f"do not use --provider {provider} --precision {precision} with this bundle"
        return Finding(
            status="fail" if promised else "warn",
            subject=subject,
            text=f"computes wrongly: {error}" if promised else f"is too inexact for this bundle: {error}",
            remedy=f"{remedy} here; please report it" if promised else remedy,
        )
    except Exception as error:  # noqa: BLE001 - a runtime may raise anything, and the report goes on
        return Finding(
            status="fail",
            subject=subject,
            text=f"does not run: {' '.join(str(error).split())[:300]}",
            remedy=f"repair its installation, or do not ask for --provider {provider}",
        )
    frames = "frames" if loaded.gate is None else "test frames, with the outputs they must have"
    return Finding(status="ok", subject=subject, text=f"runs {frames} ({1000 * seconds:.0f} ms)")


def _chosen(manifest: Manifest, report: PrecisionReport | None, host: Host) -> Finding:
    variants = tuple(manifest.engines)
    try:
        chosen = choose(EngineOptions(), variants, report, host, weight_bits=manifest.weight_bits or 8)
    except BundleError as error:
        text = f"none of the engines ({', '.join(variants)}) fits this machine: {error}"
        return Finding(status="fail", subject="engines", text=text, remedy="export the bundle again")
    text = f"{chosen.precision} on {chosen.provider} would serve: {chosen.why}"
    return Finding(status="ok", subject="engines", text=text)
