"""Work in a thread while a process starts, and imports that are left out."""

import sys
import threading

import pytest

from selsa_bundle.runtimes.starting import started, without


def test_the_caller_goes_on_while_the_work_runs_and_gets_its_result() -> None:
    go = threading.Event()

    def load() -> int:
        assert go.wait(60)
        return 7

    result = started(load)
    go.set()
    assert result() == 7


def test_the_error_of_the_work_is_raised_where_its_result_is_waited_for() -> None:
    def load() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit, match="3"):
        started(load)()


def test_a_module_is_missing_inside_the_block_and_can_be_imported_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with without("colorsys"), pytest.raises(ModuleNotFoundError):
        import colorsys
    import colorsys

    assert colorsys.rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_a_module_that_is_imported_already_stays_usable() -> None:
    import json

    with without("json"):
        import json as again
    assert again is json
    assert sys.modules["json"] is json
