"""Which execution providers of ONNX Runtime a setting means, and whether they are what really runs."""

from collections.abc import Sequence
from typing import Final

from selsa_bundle.engine import EngineInfo
from selsa_bundle.errors import EngineError
from selsa_server.settings import ProviderName

__all__ = ["check_provider", "choose_providers"]

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"
CHOICES: Final = {"cpu": (CPU,), "cuda": (CUDA, CPU), "tensorrt": (TENSORRT, CUDA, CPU)}


def choose_providers(name: ProviderName, available: Sequence[str]) -> tuple[str, ...]:
    """Providers, first choice first. `auto` takes CUDA where this ONNX Runtime was built with it.

    TensorRT is never chosen unasked: it builds its engines for minutes at the first start.
    """
    if name == "auto":
        return CHOICES["cuda" if CUDA in available else "cpu"]
    return CHOICES[name]


def check_provider(asked: Sequence[str], found: EngineInfo, *, allow_cpu: bool) -> None:
    """Refuse engines that fell back to another provider than the first choice.

    Raises:
        EngineError: they did, and it was not allowed.
    """
    if found.provider == asked[0] or (allow_cpu and found.provider == CPU):
        return
    raise EngineError(
        f"The engines run on {found.provider} although {asked[0]} was asked for; repair its installation, or "
        "give --allow-cpu to run on the CPU."
    )
