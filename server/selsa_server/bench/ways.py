"""What to measure: each bundle on each provider, in each precision, with each number of threads and batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from selsa_bundle.runtimes.choice import EngineOptions, options_named
from selsa_server.bench.errors import BenchError


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to run a bundle, as it was asked for.

    Attributes:
        bundle: its folder.
        options: what loads its engines. Ways that differ in their batch alone share engines.
        batch: frames in one engine call.
    """

    bundle: Path
    options: EngineOptions
    batch: int

    @property
    def asked(self) -> dict[str, str | int]:
        """For a person and for JSON."""
        options = self.options
        return {
            "bundle": self.bundle.name,
            "provider": options.provider,
            "precision": options.precision,
            "threads": options.threads,
            "batch": self.batch,
        }


def all_ways(
    bundles: Sequence[Path],
    *,
    providers: Sequence[str],
    precisions: Sequence[str],
    threads: Sequence[int],
    batches: Sequence[int],
) -> list[Way]:
    """Every combination, whether or not it can run here.

    Raises:
        ChoiceError: a provider or precision has an unknown name; it is shown with what is allowed.
    """
    # As a server has it, whose calls hold frames of several videos.
    largest = max(*batches, EngineOptions().max_batch)
    options = [
        EngineOptions(
            provider=named.provider, precision=named.precision, threads=named.threads, max_batch=largest
        )
        for provider, precision, count in product(providers, precisions, threads)
        for named in [options_named(provider, precision, threads=count)]
    ]
    return [
        Way(bundle=bundle, options=each, batch=batch)
        for bundle, each, batch in product(bundles, options, batches)
    ]


def words_in(text: str) -> list[str]:
    """Words with commas between, each once."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def numbers_in(option: str, text: str, *, least: int, most: int) -> list[int]:
    """Whole numbers with commas between, each once.

    Raises:
        BenchError: something else, or out of bounds; the message names the option and what is allowed.
    """
    allowed = f"allowed are whole numbers from {least} to {most}, with commas between"
    numbers = []
    for word in words_in(text) or [text]:
        if not (word.isdecimal() and len(word) < 10 and least <= int(word) <= most):
            raise BenchError(f"{option} is {text!r}; {allowed}.")
        numbers.append(int(word))
    return list(dict.fromkeys(numbers))
