"""Several models on one server."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_bundle, fake_pipeline
from fastapi.testclient import TestClient
from media import write_video
from pydantic import ValidationError

from selsa_server.api.app import build_app
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions
from selsa_server.settings import BundleSource, ServerSettings


@pytest.fixture
def small() -> FakeEngines:
    return FakeEngines()


@pytest.fixture
def two(engines: FakeEngines, small: FakeEngines, settings: ServerSettings) -> Iterator[TestClient]:
    bundle = fake_bundle(small)
    manifest = bundle.manifest.model_copy(update={"classes": ("car",)})
    other = DetectionPipeline(replace(bundle, manifest=manifest), PipelineOptions(model="small"))
    with TestClient(
        build_app(fake_pipeline(engines), settings, others={"small": other}, fork_server=FORK_SERVER)
    ) as client:
        yield client


@pytest.fixture
def video(tmp_path: Path) -> bytes:
    return write_video(tmp_path / "v.mp4", 6).read_bytes()


def test_a_request_goes_to_the_model_it_names_and_otherwise_to_the_first(
    two: TestClient, engines: FakeEngines, small: FakeEngines, video: bytes
) -> None:
    for query, classes in (
        ((), ["dog", "fox"]),
        ({"model": "fake"}, ["dog", "fox"]),
        ({"model": "small"}, ["car"]),
    ):
        answer = two.post("/detect", content=video, params=dict(query)).json()
        assert answer["video"]["model"]["classes"] == classes
    assert engines.frames_run > small.frames_run >= 6


def test_an_unknown_model_is_refused_with_a_list_of_models(two: TestClient, video: bytes) -> None:
    response = two.post("/detect", content=video, params={"model": "large"})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert (response.json()["parameter"], response.json()["allowed"]) == ("model", "fake, small")


def test_classes_are_those_of_the_named_model(two: TestClient, video: bytes) -> None:
    assert two.post("/detect", content=video, params={"model": "small", "classes": "dog"}).status_code == 422
    assert two.post("/detect", content=video, params={"model": "small", "classes": "car"}).status_code == 200


def test_all_models_are_described_the_default_first(two: TestClient) -> None:
    assert [each["served_as"] for each in two.get("/models").json()] == ["fake", "small"]
    assert two.get("/model").json()["served_as"] == "fake"


def test_a_bundle_option_is_a_folder_with_or_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    named = BundleSource(name="a", path=Path("x/y"))
    plain = BundleSource(name=None, path=Path("z"))
    assert ServerSettings(bundle="a=x/y,z").bundle == (named, plain)
    assert ServerSettings(bundle=["a=x/y", "z"]).bundle == (named, plain)
    assert ServerSettings(bundle=Path("z")).bundle == (plain,)
    monkeypatch.setenv("SELSA_BUNDLE", "a=x/y,z")
    assert ServerSettings().bundle == (named, plain)


@pytest.mark.parametrize("text", ["a=x,a=y", "b/c=x", "=x"])
def test_names_of_bundles_are_plain_and_differ(text: str) -> None:
    with pytest.raises(ValidationError):
        ServerSettings(bundle=text)
