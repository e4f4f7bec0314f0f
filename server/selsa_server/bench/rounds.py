"""Measuring in turn: every way once in a round, round after round.

A machine that is busy for a while is then busy for all of them, and ratios within a round hold where seconds
do not.
"""

from collections.abc import Callable, Mapping, Sequence

from selsa_server.bench.spread import Spread
from selsa_server.bench.subject import Subject

Rounds = list[Mapping[str, float]]


def measure_in_turn(
    subjects: Sequence[Subject], phases: Sequence[str], rounds: int, say: Callable[[str], None]
) -> list[Rounds]:
    """Seconds per frame by part, for each subject and round; one more round runs first, to warm up.

    Raises:
        DetectError: a pipeline failed.
        EngineError: an engine failed.
        BenchError: a server's answer is not whole.
    """
    found: list[Rounds] = [[] for _ in subjects]
    for number in range(rounds + 1):
        for subject, kept in zip(subjects, found, strict=True):
            say(f"{f'round {number} of {rounds}' if number else 'warming up'}: {subject.name}")
            measured = subject.round(phases)
            if number:
                kept.append(measured)
    return found


def spreads(rounds: Rounds) -> dict[str, Spread]:
    """Each part over its rounds."""
    return {part: Spread.of([each[part] for each in rounds]) for part in rounds[0]}


def ratio(above: Rounds, over: str, below: Rounds, under: str) -> Spread | None:
    """One part over another, within each round; None where either was not measured."""
    if over not in above[0] or under not in below[0]:
        return None
    return Spread.of([a[over] / b[under] for a, b in zip(above, below, strict=True)])
