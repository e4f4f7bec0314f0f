"""Provenance of an evaluation: enough to repeat it."""

import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from selsa_training.data.formats.open_data import DataSource
from selsa_training.data.issues import IssueLog
from selsa_training.data.records import DataSet
from selsa_training.data.synthetic.write import MARKER
from selsa_training.evaluation.errors import EvaluationError


def describe_run(model: dict[str, Any], data: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The head of a report: by what, when, of which model, on which data, how."""
    return {
        "made_by": "selsa evaluate",
        "selsa": version("selsa"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model,
        "data": data,
        "settings": settings,
    }


def describe_data(source: DataSource, split: str, data: DataSet, log: IssueLog) -> dict[str, Any]:
    """The data of an evaluation.

    Args:
        source: as the person named it.
        split: which part; a CocoVID file is one by itself.
        data: the videos that were looked at.
        log: what was wrong with the annotations.

    Raises:
        EvaluationError: the settings of a synthetic data set exist and cannot be read.
    """
    return {
        "path": str(source.path),
        "split": None if source.path.suffix == ".json" else split,
        "videos": data.video_count,
        "frames": data.frame_count,
        "objects": data.object_count,
        "issues": dict(log.counts),
        "synthesis": _synthesis(source.path),
    }


def _synthesis(path: Path) -> Any:
    """How a synthetic data set was made; None for any other."""
    place = (path.parent if path.suffix == ".json" else path) / MARKER
    if not place.is_file():
        return None
    try:
        return json.loads(place.read_bytes())
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{place} cannot be read: {error}") from error
