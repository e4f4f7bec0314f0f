"""What to measure: every bundle, provider, precision, thread count, batch and stride."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from selsa_bundle.runtimes.choice import EngineOptions, options_named


class BenchError(Exception):
    """Something cannot be measured or written; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to run a bundle; ways that differ only in `batch` or `stride` share engines.

    Attributes:
        batch: frames in one engine call.
        stride: pipeline and server detect on every n-th frame and fill those between.
    """

    bundle: Path
    options: EngineOptions
    batch: int
    stride: int = 1

    @property
    def params(self) -> dict[str, str | int]:
        """The parameters of a detection that differ from their defaults."""
        return {} if self.stride == 1 else {"stride": self.stride, "fill": "interpolate"}

    @property
    def asked(self) -> dict[str, str | int]:
        """The request, for messages and JSON."""
        names = ("provider", "precision", "size", "threads")
        options = {name: getattr(self.options, name) for name in names}
        return {"bundle": self.bundle.name, **options, "batch": self.batch, "stride": self.stride}

    def __str__(self) -> str:
        """The request on one line."""
        return ", ".join(f"{name} {value}" for name, value in self.asked.items())


def all_ways(
    bundles: Sequence[Path],
    *,
    providers: Sequence[str],
    precisions: Sequence[str],
    sizes: Sequence[int] = (0,),
    threads: Sequence[int],
    batches: Sequence[int],
    strides: Sequence[int] = (1,),
) -> list[Way]:
    """Every combination, whether or not it can run here.

    Raises:
        ChoiceError: a provider or precision has an unknown name; it is shown with what is allowed.
    """
    # As in a server, whose calls hold frames of several videos.
    largest = max(*batches, EngineOptions().max_batch)
    return [
        Way(
            bundle=bundle,
            options=replace(options_named(provider, precision, threads=count, size=size), max_batch=largest),
            batch=batch,
            stride=stride,
        )
        for bundle, provider, precision, size, count, batch, stride in product(
            bundles, providers, precisions, sizes, threads, batches, strides
        )
    ]


def words_in(text: str) -> list[str]:
    """The words of a comma-separated list, each once."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def numbers_in(option: str, text: str, *, least: int, most: int) -> list[int]:
    """The whole numbers of a comma-separated list, each once.

    Raises:
        BenchError: a word is no number or out of bounds; the message names the option and what is allowed.
    """
    words = words_in(text)
    if not words or not all(
        word.isdecimal() and len(word) < 10 and least <= int(word) <= most for word in words
    ):
        allowed = f"allowed are whole numbers from {least} to {most}, with commas between"
        raise BenchError(f"{option} is {text!r}; {allowed}.")
    return list(dict.fromkeys(map(int, words)))
