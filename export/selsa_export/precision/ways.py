"""The ways to run a bundle that are measured at its export."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnxruntime

from selsa_bundle.engine import Engines
from selsa_bundle.manifest import Manifest, Variant
from selsa_bundle.providers import ProviderKind
from selsa_bundle.runtimes.choice import GRAPHS, EngineOptions
from selsa_bundle.runtimes.host import Host
from selsa_bundle.runtimes.load import load_engines
from selsa_bundle.runtimes.onnx import OnnxEngines, RuntimeOptions
from selsa_bundle.tolerance import Precision
from selsa_export.precision.plan import PrecisionPlan

Way = tuple[ProviderKind, Precision]
BASE: Final[Way] = ("cpu", "fp32")
CPU_WAYS: Final[tuple[Way, ...]] = (
    ("cpu", "int8"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)
GPU_WAYS: Final[tuple[Way, ...]] = (("tensorrt", "fp16"), ("tensorrt", "int8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWay:
    """A way to run a bundle, with loaded engines.

    Attributes:
        stand_in: description of what computes instead of a provider that is missing on this machine; None if
            the
            provider itself runs. The speed of a stand-in is not reported.
    """

    engines: Engines
    variant: Variant
    stand_in: str | None = None


@contextmanager
def opened_ways(
    folder: Path, manifest: Manifest, plan: PrecisionPlan
) -> Iterator[tuple[dict[Way, OpenWay], dict[str, str]]]:
    """The ways to measure, the base first, and the ways that cannot be measured, with the reason.

    ONNX Runtime runs TensorRT's graphs on the CPU. This measures the rounding of weights and results, but not
    the summation on a GPU.
    """
    host = Host.here()
    ways: dict[Way, OpenWay] = {}
    left_out = {}
    with ExitStack() as opened:
        for way in (BASE, *CPU_WAYS, *GPU_WAYS):
            provider, precision = way
            wanted = precision in plan.precisions or (precision == "fp32" and provider != "tensorrt")
            if not wanted:
                continue
            reason, opener = _opener(way, folder, manifest, plan, host)
            if opener is None:
                left_out[f"{precision} on {provider}"] = reason
            else:
                ways[way] = opener()
                opened.callback(ways[way].engines.close)
        yield ways, left_out


def _opener(
    way: Way, folder: Path, manifest: Manifest, plan: PrecisionPlan, host: Host
) -> tuple[str, Callable[[], OpenWay] | None]:
    """A function that opens a way, or the reason why it cannot be opened."""
    provider, precision = way
    variant = next((each for each in GRAPHS[way] if each in manifest.engines), None)
    if variant is None:
        return f"the bundle has no {' or '.join(GRAPHS[way])} graphs", None
    if provider == "tensorrt":
        return "", lambda: _stand_in(folder, manifest, variant, precision, plan.threads)
    bits = manifest.weight_bits or 8
    if (reason := host.lacks(provider) or host.cannot(provider, precision, bits)) is not None:
        return reason, None
    options = EngineOptions(provider=provider, precision=precision, threads=plan.threads)
    return "", lambda: OpenWay(engines=load_engines(folder, options).engines, variant=variant)


def _stand_in(
    folder: Path, manifest: Manifest, variant: Variant, precision: Precision, threads: int
) -> OpenWay:
    frame, sequence = (folder / manifest.engines[variant][name].file for name in ("frame", "sequence"))
    options = RuntimeOptions(threads=threads, precision=precision)
    return OpenWay(
        engines=OnnxEngines(frame, sequence, manifest.dimensions, options),
        variant=variant,
        stand_in=f"ONNX Runtime {onnxruntime.__version__} on the CPU",
    )
