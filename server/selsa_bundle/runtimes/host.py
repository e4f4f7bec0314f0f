"""What this machine can run engines with: packages, execution providers, instruction sets."""

from dataclasses import dataclass
from importlib.util import find_spec

from selsa_bundle.providers import NARROW, PROVIDERS, ProviderKind
from selsa_bundle.runtimes.processor import processor_flags
from selsa_bundle.tolerance import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What this machine can run engines with.

    Attributes:
        flags: instruction sets, by Linux's names.
        onnx_providers: execution providers that ONNX Runtime was built with.
        packages: installed runtimes other than ONNX Runtime.
    """

    flags: frozenset[str]
    onnx_providers: tuple[str, ...]
    packages: frozenset[str]

    @classmethod
    def here(cls) -> "Host":
        """This machine."""
        import onnxruntime

        packages = [package for provider in PROVIDERS.values() for package in provider.packages]
        return cls(
            flags=processor_flags(),
            onnx_providers=tuple(onnxruntime.get_available_providers()),
            packages=frozenset(name for name in packages if find_spec(name) is not None),
        )

    @property
    def known_flags(self) -> tuple[str, ...]:
        """Those of the processor's instruction sets that a provider may need."""
        needed = {
            flag
            for provider in PROVIDERS.values()
            for precision in provider.graphs
            for flag in provider.needs(precision, NARROW)
        }
        return tuple(sorted(self.flags & needed))

    def lacks(self, provider: ProviderKind) -> str | None:
        """Why the provider is not available on this machine, as a clause; None if it is."""
        about = PROVIDERS[provider]
        if set(about.packages) & self.packages or about.onnx_name in self.onnx_providers:
            return None
        return about.missing or None

    def cannot(self, provider: ProviderKind, precision: Precision, weight_bits: int = 8) -> str | None:
        """Why the processor cannot compute in this precision, as a clause; None if it can.

        Args:
            weight_bits: of the int8 graphs.
        """
        about = PROVIDERS[provider]
        needed = about.needs(precision, weight_bits)
        if not needed or self.flags & set(needed):
            return None
        reason = f"this processor has none of {', '.join(needed)}"
        if self.flags & set(about.needs(precision, NARROW)):
            return f"{reason}; `selsa quantize` makes int8 graphs for it"
        return reason

    def instructions(self, provider: ProviderKind, precision: Precision) -> str:
        """The instruction set that makes it fast; empty if it needs none."""
        needed = PROVIDERS[provider].needs(precision, NARROW)
        return next((flag for flag in needed if flag in self.flags), "")
