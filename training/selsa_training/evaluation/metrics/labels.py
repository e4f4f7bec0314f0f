"""From a model's labels to a data set's: the same classes, perhaps in another order."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from selsa_training.evaluation.errors import EvaluationError

SHOWN: Final = 5


def label_map(model: Sequence[str], data: Sequence[str]) -> npt.NDArray[np.int64]:
    """int64 [classes]: the data set's label of each label of the model, matched by name.

    Raises:
        EvaluationError: a class of one is not a class of the other.
    """
    missing = [name for name in data if name not in set(model)]
    unknown = [name for name in model if name not in set(data)]
    if missing or unknown:
        parts = [
            f"{owner} {len(names)} that {other} has not: {_named(names)}"
            for owner, other, names in (
                ("the model has", "the data set", unknown),
                ("the data set has", "the model", missing),
            )
            if names
        ]
        raise EvaluationError(
            f"the model has {len(model)} classes and the data set {len(data)}; " + "; ".join(parts)
        )
    place = {name: label for label, name in enumerate(data)}
    return np.asarray([place[name] for name in model], np.int64)


def _named(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
