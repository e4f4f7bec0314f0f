"""The packaged bundle: it is there, it runs, and it is taken exactly when no other one is named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from selsa_bundle.default_bundle import default_bundle, sample_video, synthetic_bundle, synthetic_video
from selsa_bundle.errors import BundleError
from selsa_bundle.runtimes.load import verify_bundle
from selsa_server.engines.bundle_choice import choose_bundle, choose_bundles
from selsa_server.settings import BundleSource, ServerSettings
from selsa_server.video.container import VideoLimits
from selsa_server.video.index import index_video

SELSA = str(Path(sys.executable).parent / "selsa")


def test_the_package_has_a_bundle_that_is_whole_and_a_video_of_some_seconds() -> None:
    manifest, _ = verify_bundle(default_bundle())
    assert manifest.name
    for video in (sample_video(), synthetic_video()):
        index = index_video(video, VideoLimits())
        assert (index.codec, index.damage) == ("h264", None)
        assert index.duration >= 1


def test_the_packaged_bundle_is_taken_when_none_is_named_and_that_is_said() -> None:
    said: list[str] = []
    (chosen,) = choose_bundles((), said.append)
    assert chosen == BundleSource(name=None, path=default_bundle())
    about = verify_bundle(default_bundle())[0].about
    assert about is not None
    assert [line.partition(" (")[0] for line in said] == [
        f"no bundle named: using the packaged model, {about.title}"
    ]


def test_a_bundle_that_is_named_by_option_or_environment_is_taken_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setenv("SELSA_BUNDLE", "a=from/environment,b=other")
    assert choose_bundle(None, said.append) == Path("from/environment")
    assert choose_bundle(Path("from/option"), said.append) == Path("from/option")
    sources = ServerSettings().bundle
    assert choose_bundles(sources, said.append) == sources
    assert said == []


def test_packaged_bundles_are_named_by_their_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert choose_bundle(Path("synthetic"), lambda text: None) == synthetic_bundle()
    assert choose_bundle(Path("everyday"), lambda text: None) == default_bundle()
    (named,) = choose_bundles((BundleSource(name="a", path=Path("synthetic")),), lambda text: None)
    assert named == BundleSource(name="a", path=synthetic_bundle())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "synthetic").mkdir()
    assert choose_bundle(Path("synthetic"), lambda text: None) == Path("synthetic")


def test_an_empty_environment_variable_names_no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELSA_BUNDLE", "")
    assert choose_bundle(None, lambda text: None) == default_bundle()
    assert ServerSettings().bundle == ()


def test_only_the_bundle_of_the_environment_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELSA_PORT", "many")
    assert choose_bundle(None, lambda text: None) == default_bundle()
    monkeypatch.setenv("SELSA_BUNDLE", "a=x,a=y")
    with pytest.raises(BundleError, match="SELSA_BUNDLE is 'a=x,a=y'"):
        choose_bundle(None, lambda text: None)


def test_a_build_without_bundle_or_video_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"--bundle FOLDER.*make train-everyday"):
        default_bundle(tmp_path)
    with pytest.raises(BundleError, match="make train-everyday"):
        sample_video(tmp_path)


def test_detecting_locally_needs_neither_server_nor_bundle() -> None:
    done = subprocess.run(
        [SELSA, "detect", "--local", "--end", "0.1", "--reference-frames", "1", str(sample_video())],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("selsa detect: no bundle named: using the packaged model, ")
    about = verify_bundle(default_bundle())[0].about
    assert about is not None
    assert f"model: {about.title} (" in done.stderr
    assert (f"WARNING: {about.warning}" in done.stderr) == (about.warning is not None)
    assert json.loads(done.stdout.splitlines()[-1])["complete"]
