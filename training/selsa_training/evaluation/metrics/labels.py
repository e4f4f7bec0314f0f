"""From a model's labels to a data set's: the same classes, perhaps in another order."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from selsa_training.evaluation.errors import EvaluationError

SHOWN: Final = 5


def label_map(model: Sequence[str], data: Sequence[str]) -> npt.NDArray[np.int64]:
    """int64 [classes]: the data set's label of each label of the model, matched by name; -1: it has none.

    Nothing is annotated of a class that the data set does not have, so its detections count neither way.

    Raises:
        EvaluationError: a class of the data set is not one of the model.
    """
    missing = [name for name in data if name not in set(model)]
    if missing:
        raise EvaluationError(
            f"the model has {len(model)} classes and the data set {len(data)}; "
            f"the data set has {len(missing)} that the model has not: {named(missing)}"
        )
    place = {name: label for label, name in enumerate(data)}
    return np.asarray([place.get(name, -1) for name in model], np.int64)


def named(names: Sequence[str]) -> str:
    """The first names, for a message."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
