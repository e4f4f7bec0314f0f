"""The providers that run engines: one name and one description each.

A new runtime is a module with a class that derives from `selsa_bundle.runtime_base.RuntimeEngines` and a
function that opens it, and an entry here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from selsa_bundle.tolerance import Precision

if TYPE_CHECKING:  # It brings NumPy and OpenCV, which the command line does not need.
    from selsa_bundle.manifest import Variant

ProviderKind = Literal["tensorrt", "cuda", "openvino", "cpu"]
ProviderName = Literal["auto", ProviderKind]
PrecisionName = Literal["auto", Precision]

INT8: Final = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")
# Bits of int8 weights whose products do not saturate where none of these is.
NARROW: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A way to run engines.

    Attributes:
        opener: `module:function`; it takes `selsa_bundle.runtimes.choice.Graphs` and returns the engines. The
            module is imported when the provider is chosen.
        graphs: by precision, the graphs that it can run, the best first.
        flags: by precision, instruction sets of which the processor must have one: without them the precision
            is slower than fp32, or its products saturate.
        narrow: further instruction sets that suffice for int8 with weights of `NARROW` bits.
        packages: any one of these must be installed, unless ONNX Runtime has `onnx_name`; empty: no need.
        missing: what to say where neither is installed.
        on_cpu: whether it is chosen on the CPU when no provider is named.
    """

    opener: str
    graphs: "Mapping[Precision, tuple[Variant, ...]]"
    flags: Mapping[Precision, tuple[str, ...]] = field(default_factory=dict)
    narrow: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    onnx_name: str
    missing: str = ""
    on_cpu: bool = False

    def needs(self, precision: Precision, weight_bits: int) -> tuple[str, ...]:
        """Instruction sets of which the processor must have one; empty: it needs none."""
        narrow = self.narrow if precision == "int8" and weight_bits <= NARROW else ()
        return self.flags.get(precision, ()) + narrow


PROVIDERS: Final[dict[ProviderKind, Provider]] = {
    "cpu": Provider(
        opener="selsa_bundle.runtimes.onnx:open_cpu",
        graphs={"fp32": ("fp32",), "int8": ("int8",)},
        flags={"int8": INT8},
        narrow=("avx2",),
        onnx_name="CPUExecutionProvider",
        on_cpu=True,
    ),
    "openvino": Provider(
        opener="selsa_bundle.runtimes.openvino:open_openvino",
        graphs={"fp32": ("fp32",), "bf16": ("fp32",), "int8": ("int8",)},
        flags={"int8": INT8, "bf16": ("avx512_bf16", "amx_bf16")},
        narrow=("avx2",),
        packages=("openvino",),
        # ONNX Runtime's own OpenVINO provider is not used.
        onnx_name="",
        missing="openvino is not installed: pip install 'selsa[openvino]'",
        on_cpu=True,
    ),
    "cuda": Provider(
        opener="selsa_bundle.runtimes.onnx:open_cuda",
        graphs={"fp32": ("fp32",), "fp16": ("native-fp16",)},
        onnx_name="CUDAExecutionProvider",
        missing="this ONNX Runtime was built without CUDA: pip install 'selsa[server-gpu]'",
    ),
    # Never chosen unless named: it builds its engines at the first start.
    "tensorrt": Provider(
        opener="selsa_bundle.tensorrt.engines:open_graphs",
        graphs={"fp32": ("native", "fp32"), "fp16": ("native-fp16",), "int8": ("native-int8",)},
        packages=("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"),
        onnx_name="TensorrtExecutionProvider",
        missing="TensorRT is not installed: pip install 'selsa[server-gpu]'",
    ),
}
