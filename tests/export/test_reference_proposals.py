"""A model can be exported so that key frames attend to the best proposals of a reference frame only."""

import pytest
from pydantic import ValidationError

from selsa_export.bundle import with_reference_proposals
from selsa_export.errors import ExportError
from selsa_training.checkpoint.checkpoint import Checkpoint
from selsa_training.checkpoint.detector import detector_of
from selsa_training.checkpoint.untrained import untrained_tensors
from selsa_training.config import CONFIGS, ProposalConfig
from selsa_training.everyday.config import EverydayConfig


def checkpoint_of(config) -> Checkpoint:
    tensors = {} if isinstance(config, EverydayConfig) else untrained_tensors(config, 0)
    return Checkpoint(config=config, tensors=tensors, origin="a test", sha256="0" * 64)


def test_the_bank_has_that_many_rows_of_each_reference_frame() -> None:
    fewer = with_reference_proposals(checkpoint_of(CONFIGS["tiny"]), 16)
    dims = detector_of(fewer).dimensions
    assert (dims.proposals, dims.bank_rows) == (64, 16)


def test_a_model_without_the_choice_is_written_as_before() -> None:
    assert detector_of(checkpoint_of(CONFIGS["tiny"])).dimensions.bank_proposals is None
    assert "reference_proposals" not in CONFIGS["tiny"].model_dump_json()


def test_a_number_that_the_model_cannot_give_is_refused() -> None:
    with pytest.raises(ExportError, match="is 65; allowed are 1 to 64"):
        with_reference_proposals(checkpoint_of(CONFIGS["tiny"]), 65)
    with pytest.raises(ValidationError, match="at most 300"):
        ProposalConfig(reference_proposals=301)


def test_a_family_with_a_number_of_its_own_is_refused() -> None:
    with pytest.raises(ExportError, match="has its own number"):
        with_reference_proposals(checkpoint_of(EverydayConfig()), 16)
