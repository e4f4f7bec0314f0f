"""Computes what is said of seeds in docs/default-model/README.md and README.md: python docs/seeds_page.py

It comes from the reports of `selsa evaluate` in docs/default-model, and is written between the pages' marks;
a test compares it, so that no number there is typed by hand.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from textwrap import wrap
from typing import Final

from marked import with_part

__all__ = ["PAGE", "README", "readme", "seeds_page"]

FOLDER: Final = Path(__file__).with_name("default-model")
PAGE: Final = FOLDER / "README.md"
README: Final = FOLDER.parents[1] / "README.md"
# Seed 0 of `tiny` is the packaged model, which `make train-default` reports on.
PACKAGED: Final = FOLDER / "checkpoint.json"
SEEDS: Final = (0, 1, 2)
GROUPS: Final = ("all", "slow", "medium", "fast", "degraded", "clear")

# AP50 by group of objects, for each seed.
Scores = Sequence[dict[str, float]]


def seeds_page(page: str) -> str:
    """The page of the default model with its tables as they should be."""
    sequence, online, single, baseline = _all_scores()
    by_seed = [
        ("sequence", sequence, "all"),
        ("online", online, "all"),
        ("single, the same weights", single, "all"),
        ("trained on single frames", baseline, "all"),
        ("sequence, fast motion", sequence, "fast"),
        ("trained on single frames, fast motion", baseline, "fast"),
        ("sequence - single", _difference(sequence, single), "all"),
        ("sequence - trained on single frames", _difference(sequence, baseline), "all"),
        ("the same on fast motion", _difference(sequence, baseline), "fast"),
    ]
    by_group = [
        ("sequence (`tiny`)", sequence),
        ("trained on single frames", baseline),
        ("difference", _difference(sequence, baseline)),
    ]
    page = with_part(page, "seeds", _by_seed(by_seed))
    return with_part(page, "groups", _by_group(by_group))


def readme(page: str) -> str:
    """README with its sentences as they should be."""
    sequence, _, single, baseline = _all_scores()
    by_sequence, gap = _difference(sequence, single), _difference(sequence, baseline)
    text = (
        f"Trained with {len(SEEDS)} seeds, the sequence has {_spread(sequence, 'all')} AP50 (mean and "
        f"standard deviation), {_spread(by_sequence, 'all')} more than single frames with the same weights. "
        "A detector trained on single frames with the same budget, without aggregation, has "
        f"{_spread(baseline, 'all')}: {_spread(gap, 'all')} less, and {_spread(gap, 'fast')} less on fast "
        "motion."
    )
    return with_part(page, "seeds", wrap(text, 118))


def _all_scores() -> tuple[Scores, Scores, Scores, Scores]:
    """Of `tiny` in sequence, online and single mode, and of what was trained on single frames."""
    sequence, online, single = (_scores("tiny", mode) for mode in ("sequence", "online", "single"))
    return sequence, online, single, _scores("tiny-single-frame", "single")


def _scores(name: str, mode: str) -> Scores:
    """AP50 of one model, in percent, seed by seed.

    Raises:
        ValueError: a report is of another model or seed, or of training that was not at its end.
    """
    found = []
    for seed in SEEDS:
        path = PACKAGED if (name, seed) == ("tiny", 0) else FOLDER / "seeds" / f"{name}-{seed}.json"
        report = json.loads(path.read_text(encoding="utf-8"))
        origin, wanted = report["model"]["origin"], f"selsa train, {name}, seed {seed}, step 4500 of 4500"
        if origin != wanted:
            raise ValueError(f"{path} is a report of {origin!r}; wanted is {wanted!r}")
        found.append(report["modes"][mode]["vid"]["ap50"])
    return found


def _difference(more: Scores, less: Scores) -> Scores:
    return [{group: a[group] - b[group] for group in GROUPS} for a, b in zip(more, less, strict=True)]


def _spread(scores: Scores, group: str) -> str:
    values = [each[group] for each in scores]
    return f"{fmean(values):.1f} ± {stdev(values):.1f}"


def _by_seed(rows: Sequence[tuple[str, Scores, str]]) -> Iterator[str]:
    yield "| AP50 | " + " | ".join(f"seed {seed}" for seed in SEEDS) + " | mean | standard deviation |"
    yield "|---|" + "---|" * (len(SEEDS) + 2)
    for name, scores, group in rows:
        values = [each[group] for each in scores]
        shown = [f"{value:.1f}" for value in (*values, fmean(values))]
        yield f"| {name} | {' | '.join(shown)} | {stdev(values):.2f} |"


def _by_group(rows: Sequence[tuple[str, Scores]]) -> Iterator[str]:
    yield f"| AP50, mean of {len(SEEDS)} seeds | {' | '.join(GROUPS)} |"
    yield "|---|" + "---|" * len(GROUPS)
    for name, scores in rows:
        means = (f"{fmean(each[group] for each in scores):.1f}" for group in GROUPS)
        yield f"| {name} | {' | '.join(means)} |"


if __name__ == "__main__":
    for path, made in ((PAGE, seeds_page), (README, readme)):
        sys.stdout.write(f"{path}\n")
        path.write_text(made(path.read_text(encoding="utf-8")), encoding="utf-8")
