"""What the OpenAPI document promises holds for whatever is sent: requests made from it, to every route."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from fake_engines import FakeEngines
from hypothesis import strategies as st
from live_server import live_server
from media import write_video
from schemathesis import engine
from schemathesis.engine import events
from schemathesis.specs.openapi.schemas import OpenApiSchema

from selsa_server.settings import ServerSettings

PROMISES = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
}
# Judgements of style, on which this interface has its own mind: 415 for an unknown type, and the like.
OTHERS = {
    "positive_data_acceptance",
    "negative_data_rejection",
    "use_after_free",
    "ensure_resource_availability",
    "missing_required_header",
    "ignored_auth",
    "object_level_authorization",
    "unsupported_method",
    "allow_header_conformance",
}
CONFIG = {
    "seed": 1,
    "request-timeout": 10,
    "checks": {name: {"enabled": name in PROMISES} for name in PROMISES | OTHERS},
    "generation": {"max-examples": 10, "deterministic": True, "database": "none", "no-shrink": True},
}


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenApiSchema]:
    folder: Path = tmp_path_factory.mktemp("openapi")
    # Bytes at random are hardly ever a video, and then half of the routes' code is never reached.
    videos = [write_video(folder / "video.mp4", 3).read_bytes(), b"no video"]
    for media_type in ("application/octet-stream", "video/*"):
        schemathesis.openapi.media_type(media_type, st.sampled_from(videos) | st.binary(max_size=200))
    spool = folder / "spool"
    spool.mkdir()
    config = schemathesis.Config.from_dict(CONFIG)
    # Bundles may be loaded and there is none, so that the one model stays.
    settings = ServerSettings(spool_dir=spool, upload_timeout=2, bundle_dir=spool)
    with live_server(FakeEngines(), settings) as address:
        yield schemathesis.openapi.from_url(f"http://{address}/openapi.json", config=config)


def broken_promises(event: events.EngineEvent) -> Iterator[str]:
    if isinstance(event, events.ScenarioFinished):
        recorder = event.recorder
        for case_id, checks in recorder.checks.items():
            answer = recorder.interactions[case_id].response
            said = "no answer" if answer is None else f"{answer.status_code} {answer.content[:300]!r}"
            for failure in (check.failure_info.failure for check in checks if check.failure_info):
                yield f"{recorder.label}: {failure.title}: {failure.message} ({said})"
    elif isinstance(event, events.NonFatalError):
        yield f"{event.label}: {event.value}"
    elif isinstance(event, events.FatalError):
        yield str(event.exception)


def test_no_answer_is_a_failure_of_the_server_or_undocumented(described: OpenApiSchema) -> None:
    asked: dict[str, int] = {}
    broken: list[str] = []
    for event in engine.from_schema(described).execute():
        broken.extend(broken_promises(event))
        if isinstance(event, events.ScenarioFinished):
            label = event.recorder.label
            asked[label] = asked.get(label, 0) + len(event.recorder.interactions)
    assert not broken, "\n\n".join(broken)
    operations = {result.ok().label for result in described.get_all_operations()}
    assert {label for label in operations if not asked.get(label)} == set()
