"""What to measure: every bundle on every provider, in every precision, with every thread count and batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from selsa_bundle.runtimes.choice import EngineOptions, options_named


class BenchError(Exception):
    """Something cannot be measured or written; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to run a bundle, as requested.

    Attributes:
        bundle: its folder.
        options: how its engines are loaded. Ways that differ only in their batch share engines.
        batch: frames in one engine call.
    """

    bundle: Path
    options: EngineOptions
    batch: int

    @property
    def asked(self) -> dict[str, str | int]:
        """The request, for messages and JSON."""
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
    # As in a server, whose calls hold frames of several videos.
    largest = max(*batches, EngineOptions().max_batch)
    options = [
        replace(options_named(provider, precision, threads=count), max_batch=largest)
        for provider, precision, count in product(providers, precisions, threads)
    ]
    return [
        Way(bundle=bundle, options=each, batch=batch)
        for bundle, each, batch in product(bundles, options, batches)
    ]


def words_in(text: str) -> list[str]:
    """The words of a comma-separated list, each once."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def numbers_in(option: str, text: str, *, least: int, most: int) -> list[int]:
    """The whole numbers of a comma-separated list, each once.

    Raises:
        BenchError: a word is no number or out of bounds; the message names the option and what is allowed.
    """
    allowed = f"allowed are whole numbers from {least} to {most}, with commas between"
    numbers = []
    for word in words_in(text) or [text]:
        if not (word.isdecimal() and len(word) < 10 and least <= int(word) <= most):
            raise BenchError(f"{option} is {text!r}; {allowed}.")
        numbers.append(int(word))
    return list(dict.fromkeys(numbers))
