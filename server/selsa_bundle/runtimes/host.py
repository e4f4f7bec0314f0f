"""What this machine has to run engines with: packages, execution providers, instruction sets."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from selsa_bundle.precision_report import ProviderKind
from selsa_bundle.runtimes.processor import processor_flags
from selsa_bundle.tolerance import Precision

# Without one of these instruction sets a precision is slower than fp32, or its products saturate.
NEEDED_FLAGS: Final[dict[tuple[ProviderKind, Precision], tuple[str, ...]]] = {
    ("cpu", "int8"): ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp"),
    ("openvino", "int8"): ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp"),
    ("openvino", "bf16"): ("avx512_bf16", "amx_bf16"),
}
ONNX_NAMES: Final = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What this machine has.

    Attributes:
        flags: instruction sets, by Linux's names.
        onnx_providers: execution providers that ONNX Runtime was built with.
        packages: runtimes that are installed besides.
    """

    flags: frozenset[str]
    onnx_providers: tuple[str, ...]
    packages: frozenset[str]

    @classmethod
    def here(cls) -> "Host":
        """This machine."""
        import onnxruntime

        packages = ("openvino", "tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
        return cls(
            flags=processor_flags(),
            onnx_providers=tuple(onnxruntime.get_available_providers()),
            packages=frozenset(name for name in packages if find_spec(name) is not None),
        )

    def lacks(self, provider: ProviderKind) -> str | None:
        """Why the provider cannot be had here, as a clause; None if it can."""
        if provider == "openvino" and "openvino" not in self.packages:
            return "openvino is not installed: pip install 'selsa[openvino]'"
        if provider == "cuda" and ONNX_NAMES["cuda"] not in self.onnx_providers:
            return "this ONNX Runtime was built without CUDA: pip install 'selsa[server-gpu]'"
        if provider == "tensorrt" and not (
            {"tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"} & self.packages
            or ONNX_NAMES["tensorrt"] in self.onnx_providers
        ):
            return "TensorRT is not installed: pip install 'selsa[server-gpu]'"
        return None

    def cannot(self, provider: ProviderKind, precision: Precision) -> str | None:
        """Why the processor cannot compute so, as a clause; None if it can."""
        needed = NEEDED_FLAGS.get((provider, precision))
        if needed is None or self.flags & set(needed):
            return None
        return f"this processor has none of {', '.join(needed)}"

    def instructions(self, provider: ProviderKind, precision: Precision) -> str:
        """The instruction set that makes it fast, for a sentence."""
        return next((flag for flag in NEEDED_FLAGS.get((provider, precision), ()) if flag in self.flags), "")
