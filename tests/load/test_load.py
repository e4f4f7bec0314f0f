"""Half a minute of mixed load on a real server; longer ones and throughput run by hand: `generator.py`."""

from pathlib import Path

import pytest
from mixed import MixedLoad, run_mixed
from quick_bundle import make_bundle
from served import serving

SECONDS = 30
# The warm-up is too short to have had every size and batch once; what is kept of them comes later.
# The 5 % that `MixedReport.passed` asks for are meant for half an hour after two minutes.
GROWTH_ALLOWED = 0.5


@pytest.mark.slow
def test_half_a_minute_of_mixed_load_leaks_nothing(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    with serving(make_bundle(tmp_path), ["--spool-dir", str(spool), "--threads", "2"]) as server:
        report = run_mixed(server, MixedLoad(seconds=SECONDS, warm_up=15, warm_up_requests=60), spool)
    assert report.failures == []
    assert report.left_open == report.left_in_spool == []
    assert report.growth <= GROWTH_ALLOWED, report.idle
    assert report.outcomes["json_document"]["complete"] > 0
    assert report.outcomes["records"]["complete"] > 0
    assert report.outcomes["bad_file"]["refused"] > 0
