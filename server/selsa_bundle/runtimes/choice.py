"""Which provider runs a bundle, and in which precision: the requested one, or the fastest allowed one.

Allowed is what the bundle's own report allows and this machine can do. The choice is made once, before any
engine is loaded, and states its reason.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast, get_args

from selsa_bundle.contract import EngineName
from selsa_bundle.errors import ChoiceError
from selsa_bundle.manifest import Manifest, Variant
from selsa_bundle.precision_report import PrecisionReport
from selsa_bundle.providers import PROVIDERS, PrecisionName, ProviderKind, ProviderName
from selsa_bundle.runtimes.host import Host
from selsa_bundle.tolerance import Precision

GRAPHS: Final[dict[tuple[ProviderKind, Precision], tuple[Variant, ...]]] = {
    (kind, precision): graphs
    for kind, provider in PROVIDERS.items()
    for precision, graphs in provider.graphs.items()
}
CPU_PROVIDERS: Final = tuple(kind for kind, provider in PROVIDERS.items() if provider.on_cpu)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """A request for engines.

    Attributes:
        provider: that runs the engines; `auto`: CUDA where ONNX Runtime was built with it, else the fastest
            way on the CPU that the bundle's report allows. TensorRT must be named: it builds its engines at
            the first start.
        precision: that they compute in; `auto`: as the report allows.
        calls: calls of an engine that run at the same time.
        threads: threads of one call; 0: the cores are shared out among the calls.
        allow_cpu: whether to run in fp32 on the CPU if this machine does not have the provider.
        max_batch: most frames in one call; compiled engines are compiled for it.
        engine_cache: folder of compiled engines; None: TensorRT's are in the user's cache folder, and
            OpenVINO's are not kept.
        size: long side of frames in pixels, at most the bundle's; 0: the bundle's.
        say: gets messages about slow steps, such as compiling engines.
    """

    provider: ProviderName = "auto"
    precision: PrecisionName = "auto"
    calls: int = 1
    threads: int = 0
    allow_cpu: bool = False
    max_batch: int = 8
    engine_cache: Path | None = None
    size: int = 0
    say: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphs:
    """What a runtime is opened with: the graphs of a bundle that were chosen, and the request."""

    folder: Path
    manifest: Manifest
    variant: Variant
    precision: Precision
    options: EngineOptions

    def path(self, engine: EngineName) -> Path:
        """The graph's file of one engine."""
        return self.folder / self.manifest.engines[self.variant][engine].file


def options_named(
    provider: str = "auto", precision: str = "auto", *, threads: int = 0, size: int = 0
) -> EngineOptions:
    """Options from the names that a user gave.

    Raises:
        ChoiceError: a name is unknown; the message lists the allowed ones.
    """
    for option, value, allowed in (
        ("--provider", provider, get_args(ProviderName)),
        ("--precision", precision, get_args(PrecisionName)),
    ):
        if value not in allowed:
            raise ChoiceError(f"{option} is {value!r}; allowed are {', '.join(allowed)}.")
    return EngineOptions(
        provider=cast("ProviderName", provider),
        precision=cast("PrecisionName", precision),
        threads=threads,
        size=size,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What will run.

    Attributes:
        why: the reason, one sentence for the user.
    """

    provider: ProviderKind
    precision: Precision
    variant: Variant
    why: str


def choose(
    options: EngineOptions,
    variants: Sequence[Variant],
    report: PrecisionReport | None,
    host: Host,
    *,
    weight_bits: int = 8,
) -> Choice:
    """Choose what to run.

    Args:
        weight_bits: of the bundle's int8 graphs for CPUs.

    Raises:
        ChoiceError: the bundle or this machine cannot do what was requested.
    """
    provider = options.provider
    on_cuda = options.precision == "auto" or ("cuda", options.precision) in GRAPHS
    if provider == "auto" and on_cuda and host.lacks("cuda") is None:
        provider = "cuda"
    if provider != "auto" and (lack := host.lacks(provider)) is not None:
        if not options.allow_cpu:
            raise ChoiceError(f"--provider {provider}: {lack}; or give --allow-cpu to run on the CPU.")
        options = replace(options, provider="cpu", precision="fp32")
        chosen = choose(options, variants, report, host, weight_bits=weight_bits)
        return replace(chosen, why=f"allowed by --allow-cpu, since {lack}")
    if options.precision != "auto":
        return _asked_for(provider, options.precision, variants, report, host, weight_bits)
    return _best(provider, variants, report, host, weight_bits)


def _asked_for(
    provider: ProviderName,
    precision: Precision,
    variants: Sequence[Variant],
    report: PrecisionReport | None,
    host: Host,
    weight_bits: int,
) -> Choice:
    """A named precision, on the named provider or the fastest one that has it."""
    kinds = CPU_PROVIDERS if provider == "auto" else (provider,)
    reasons = []
    found = []
    for kind in kinds:
        reason = _obstacle(kind, precision, variants, host, weight_bits)
        if reason is None:
            found.append(kind)
        else:
            reasons.append(reason)
    if not found:
        raise ChoiceError(f"--precision {precision}: {'; '.join(dict.fromkeys(reasons))}.")
    best = max(found, key=lambda kind: _speed(report, kind, precision))
    return Choice(
        provider=best, precision=precision, variant=_graph(best, precision, variants), why="as asked for"
    )


def _obstacle(
    provider: ProviderKind, precision: Precision, variants: Sequence[Variant], host: Host, weight_bits: int
) -> str | None:
    """Why a bundle with these graphs cannot run this way here, as a clause; None if it can."""
    graphs = GRAPHS.get((provider, precision))
    if graphs is None:
        allowed = ", ".join(p for kind, p in GRAPHS if kind == provider)
        elsewhere = ", ".join(kind for kind, p in GRAPHS if p == precision)
        return f"{provider} computes in {allowed}; {precision} needs --provider {elsewhere}"
    if not set(graphs) & set(variants):
        has = f"this bundle has no {graphs[0]} engines (it has {', '.join(variants)})"
        return f"{has}; `selsa quantize` or `selsa export`, with --precision, makes one that has them"
    return host.lacks(provider) or host.cannot(provider, precision, weight_bits)


def _graph(provider: ProviderKind, precision: Precision, variants: Sequence[Variant]) -> Variant:
    return next(graph for graph in GRAPHS[provider, precision] if graph in variants)


def _speed(report: PrecisionReport | None, provider: ProviderKind, precision: Precision) -> float:
    known = None if report is None else report.of(provider, precision)
    if known is not None and known.times_as_fast is not None:
        return known.times_as_fast
    # ONNX Runtime in fp32 is the base of the measurements.
    return 1.0 if (provider, precision) == ("cpu", "fp32") else 0.0


def _best(
    provider: ProviderName,
    variants: Sequence[Variant],
    report: PrecisionReport | None,
    host: Host,
    weight_bits: int,
) -> Choice:
    """The fastest way that the report allows and this machine can do; fp32 without a report."""
    kinds = CPU_PROVIDERS if provider == "auto" else (provider,)
    ways = [(kind, precision) for kind, precision in GRAPHS if kind in kinds]
    # The exporter compared fp32 with torch.
    sound: list[tuple[ProviderKind, Precision]] = [(kinds[0], "fp32")]
    left_out = []
    for way in ways:
        if way in sound:
            continue
        reason = _unsound(*way, variants, report, host, weight_bits)
        if reason is None:
            sound.append(way)
        elif reason:
            left_out.append(f"{way[1]} on {way[0]} is left out: {reason}")
    kind, precision = max(sound, key=lambda way: _speed(report, *way))
    return Choice(
        provider=kind,
        precision=precision,
        variant=_graph(kind, precision, variants),
        why="; ".join([_merit(kind, precision, report, host), *left_out]),
    )


def _unsound(
    provider: ProviderKind,
    precision: Precision,
    variants: Sequence[Variant],
    report: PrecisionReport | None,
    host: Host,
    weight_bits: int,
) -> str | None:
    """Why a way is only run if it is named, as a clause; empty if not measured; None if it may be chosen."""
    known = None if report is None else report.of(provider, precision)
    if report is None or known is None:
        return ""
    if failures := known.failures(report.bounds):
        return failures[0]
    obstacle = _obstacle(provider, precision, variants, host, weight_bits)
    if obstacle is None and precision == "int8" and (flag := _missing_speed(provider, report, host)):
        return (
            f"its speed was measured with {flag}, which this processor lacks (`selsa quantize` measures it)"
        )
    return obstacle


def _missing_speed(provider: ProviderKind, report: PrecisionReport, host: Host) -> str | None:
    """The fast int8 instructions that the report was measured with, if this processor has none of them."""
    fast = PROVIDERS[provider].flags.get("int8", ())
    if not fast or host.flags & set(fast):
        return None
    if not report.instructions:  # An older report: int8 was measured with these only.
        return fast[0]
    return next((flag for flag in fast if flag in report.instructions), None)


def _merit(provider: ProviderKind, precision: Precision, report: PrecisionReport | None, host: Host) -> str:
    known = None if report is None else report.of(provider, precision)
    if report is None:
        return "the bundle has no report on other precisions"
    if known is None or known.times_as_fast is None or (provider, precision) == ("cpu", "fp32"):
        return "nothing faster is allowed by the bundle's report and possible here"
    has = host.instructions(provider, precision)
    processor = f"this processor has {has}, " if has else ""
    return (
        f"{processor}the bundle's report allows it ({known.agreement.share:.1%} of fp32 detections matched), "
        f"and it was {known.times_as_fast:.1f} times as fast as fp32 in ONNX Runtime when measured"
    )
