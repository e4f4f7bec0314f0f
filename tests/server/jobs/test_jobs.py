"""Jobs over HTTP, on engines without a network."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_engines import FakeEngines
from fakes import FORK_SERVER, fake_pipeline
from fastapi.testclient import TestClient
from httpx import Response
from live_server import wait_until
from media import write_video
from structlog.testing import capture_logs

from selsa_server.api.app import build_app
from selsa_server.jobs.files import JobsPlaceError
from selsa_server.jobs.folder_results import ResultsReader
from selsa_server.settings import ServerSettings

FRAMES = 40
SLOW = 0.02


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return write_video(path, FRAMES, codec="mpeg4").read_bytes()


@contextmanager
def running(engines: FakeEngines, settings: ServerSettings, **changes: Any) -> Iterator[TestClient]:
    app = build_app(fake_pipeline(engines), settings.model_copy(update=changes), fork_server=FORK_SERVER)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def submit(client: TestClient, video: bytes, **options: Any) -> str:
    response = client.post("/v1/jobs", content=video, **options)
    assert response.status_code == 202, response.text
    location: str = response.headers["location"]
    assert location == f"/v1/jobs/{response.json()['id']}"
    return location


def state(client: TestClient, job: str) -> str:
    found: str = client.get(job).json()["state"]
    return found


def ended(client: TestClient, job: str) -> dict[str, Any]:
    wait_until(lambda: state(client, job) in ("done", "failed", "cancelled"))
    view: dict[str, Any] = client.get(job).json()
    return view


def records(response: Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def code(response: Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


def files(settings: ServerSettings) -> list[str]:
    assert settings.jobs_dir is not None
    return [
        path.suffix for path in settings.jobs_dir.iterdir() if path.suffix in (".video", ".ndjson", ".upload")
    ]


def test_a_job_gives_the_same_records_as_detect(client: TestClient, video: bytes) -> None:
    direct = client.post("/detect", content=video, params={"stride": 2}).json()
    job = submit(client, video, params={"stride": 2})
    view = ended(client, job)
    assert (view["state"], view["progress"]) == ("done", {"done": 20, "total": 20})
    response = client.get(f"{job}/results")
    first, *frames, last = records(response)
    assert response.headers["selsa-complete"] == "true"
    assert (first, frames) == (direct["video"], direct["frames"])
    assert (last["type"], last["emitted"]) == ("summary", 20)


@pytest.mark.parametrize("after", [0, 1, 17, FRAMES + 2, 1000])
def test_results_can_be_read_from_any_record(client: TestClient, video: bytes, after: int) -> None:
    job = submit(client, video)
    ended(client, job)
    whole = records(client.get(f"{job}/results"))
    assert records(client.get(f"{job}/results", params={"after": after})) == whole[after:]


def test_open_results_stay_readable_after_their_job_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "results"
    lines = b"".join(b"%d\n" % number for number in range(50_000))
    path.write_bytes(lines)
    reader = ResultsReader(path, 3)
    assert reader.open()
    path.unlink()
    assert b"".join(iter(reader.block, b"")) == lines[6:]
    reader.close()
    assert not ResultsReader(path, 0).open()


def test_an_ended_job_keeps_its_results_and_not_its_video(
    client: TestClient, video: bytes, settings: ServerSettings
) -> None:
    ended(client, submit(client, video))
    wait_until(lambda: files(settings) == [".ndjson"])


def test_a_job_shows_progress_and_an_estimated_end(settings: ServerSettings, video: bytes) -> None:
    with running(FakeEngines(seconds_per_frame=SLOW), settings) as client:
        job = submit(client, video)
        wait_until(lambda: 0 < client.get(job).json()["progress"]["done"] < FRAMES)
        view = client.get(job).json()
        assert (view["state"], view["progress"]["total"]) == ("running", FRAMES)
        assert view["estimated_end"] > view["started"]
        part = client.get(f"{job}/results")
        assert part.headers["selsa-complete"] == "false"
        assert records(part)[0]["type"] == "video"


def test_results_can_be_followed_to_the_end(settings: ServerSettings, video: bytes) -> None:
    with running(FakeEngines(seconds_per_frame=SLOW / 4), settings) as client:
        job = submit(client, video)
        followed = records(client.get(f"{job}/results", params={"follow": True, "after": 3}))
        assert followed == records(client.get(f"{job}/results"))[3:]
        assert followed[-1]["type"] == "summary"


def test_a_failed_job_has_its_error_in_the_state_and_as_last_record(client: TestClient) -> None:
    job = submit(client, b"this is no video")
    view = ended(client, job)
    assert (view["state"], view["error"]["code"]) == ("failed", "not_a_video")
    (last,) = records(client.get(f"{job}/results"))
    assert (last["type"], last["code"]) == ("error", "not_a_video")


def test_an_engine_failure_keeps_the_records_before_it(settings: ServerSettings, video: bytes) -> None:
    with running(FakeEngines(fail_at=20), settings) as client:
        job = submit(client, video, params={"mode": "online"})
        assert ended(client, job)["error"]["code"] == "engine_failed"
        *before, last = records(client.get(f"{job}/results"))
        assert last["emitted"] == len(before) - 1 > 0


def test_bad_requests_are_refused_at_once_and_leave_nothing(
    client: TestClient, video: bytes, settings: ServerSettings
) -> None:
    assert code(client.post("/v1/jobs", content=video, params={"classes": "cat"})) == (
        422,
        "invalid_parameter",
    )
    # JSON, in which parameters are kept, has no infinity.
    for params in ({"stride": 0}, {"start": "inf"}, {"end": "inf"}, {"start": "nan"}):
        assert code(client.post("/v1/jobs", content=video, params=params)) == (422, "invalid_parameter")
    assert code(client.post("/v1/jobs", content=b"")) == (400, "empty_body")
    assert code(client.post("/v1/jobs", content=bytes(400_000))) == (413, "body_too_large")
    assert code(client.post("/v1/jobs", content=(bytes(1000) for _ in range(400)))) == (413, "body_too_large")
    assert files(settings) == []


@pytest.mark.parametrize("name", ["x" * 24, "x", "..%2f..%2fetc", "%00" * 24, "é" * 24])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_invalid_job_id_is_not_found_or_refused(client: TestClient, name: str, method: str) -> None:
    assert client.request(method, f"/v1/jobs/{name}").status_code in (404, 422)
    assert client.get(f"/v1/jobs/{name}/results").status_code in (404, 422)
    assert client.get(f"/v1/jobs/{name}/events").status_code in (404, 422)


def test_a_running_job_that_is_deleted_stops_and_leaves_nothing(
    settings: ServerSettings, video: bytes
) -> None:
    engines = FakeEngines(seconds_per_frame=SLOW)
    with running(engines, settings) as client:
        ran = engines.frames_run
        job = submit(client, video)
        wait_until(lambda: engines.frames_run > ran + 8)
        assert client.delete(job).status_code == 204
        stopped_at = engines.frames_run
        assert state(client, job) == "cancelled"
        assert code(client.get(f"{job}/results")) == (410, "job_cancelled")
        wait_until(lambda: files(settings) == [])
        assert engines.frames_run <= stopped_at + 1
        assert client.delete(job).status_code == 204
        assert code(client.get(job)) == (404, "job_not_found")


def test_deleting_a_running_job_is_no_warning_in_the_log(settings: ServerSettings, video: bytes) -> None:
    engines = FakeEngines(seconds_per_frame=SLOW)
    with capture_logs() as log, running(engines, settings) as client:
        ran = engines.frames_run
        job = submit(client, video)
        wait_until(lambda: engines.frames_run > ran + 8)
        assert client.delete(job).status_code == 204
        wait_until(lambda: files(settings) == [])
    assert [line for line in log if line["log_level"] not in ("debug", "info")] == []
    assert [line["event"] for line in log if line.get("job")] == ["job cancelled"]


def test_jobs_are_listed_page_by_page_the_newest_first(settings: ServerSettings, video: bytes) -> None:
    with running(FakeEngines(), settings) as client:
        submitted = [submit(client, video, params={"stride": stride}) for stride in range(1, 8)]
        pages: list[list[str]] = []
        before: int | None = None
        while True:
            params = {"limit": 3} | ({} if before is None else {"before": before})
            page = client.get("/v1/jobs", params=params).json()
            pages.append([f"/v1/jobs/{job['id']}" for job in page["jobs"]])
            if len(pages) == 1:  # a job that comes meanwhile is on no later page
                submit(client, video, params={"stride": 9})
            if (before := page["next"]) is None:
                break
        assert [len(page) for page in pages] == [3, 3, 1]
        assert [job for page in pages for job in page] == submitted[::-1]
        assert client.get("/v1/jobs", params={"limit": 8}).json()["next"] is None


@pytest.mark.parametrize(
    ("name", "value"), [("limit", 0), ("limit", 1001), ("before", 0), ("before", 1 << 62), ("before", "1_0")]
)
def test_a_page_of_jobs_that_cannot_be_is_refused(client: TestClient, name: str, value: object) -> None:
    answer = client.get("/v1/jobs", params={name: str(value)})
    assert code(answer) == (422, "invalid_parameter")
    assert answer.json()["parameter"] == name


def test_a_deleted_queued_job_never_runs(settings: ServerSettings, video: bytes) -> None:
    engines = FakeEngines(seconds_per_frame=SLOW)
    with running(engines, settings) as client:
        ran = engines.frames_run
        first, second = submit(client, video), submit(client, video, params={"stride": 2})
        assert state(client, second) == "queued"
        client.delete(second)
        ended(client, first)
        assert state(client, second) == "cancelled"
        assert engines.frames_run - ran <= FRAMES + 1  # the first frame that a server runs is its own


def test_following_a_cancelled_job_ends_with_an_error_record(settings: ServerSettings, video: bytes) -> None:
    with running(FakeEngines(seconds_per_frame=SLOW), settings) as client:
        blocker, job = submit(client, video), submit(client, video, params={"stride": 2})
        threading.Timer(0.2, lambda: client.delete(job)).start()
        (last,) = records(client.get(f"{job}/results", params={"follow": True}))
        assert (last["type"], last["code"]) == ("error", "job_cancelled")
        client.delete(blocker)


def test_the_same_video_with_the_same_parameters_is_the_same_job(client: TestClient, video: bytes) -> None:
    job = submit(client, video)
    again = client.post("/v1/jobs", content=video)
    assert (again.status_code, again.headers["location"]) == (200, job)
    form = client.post("/v1/jobs", files={"file": video})
    assert (form.status_code, form.headers["location"]) == (200, job)
    assert submit(client, video, params={"stride": 2}) != job


def test_a_failed_or_cancelled_job_is_not_reused(settings: ServerSettings, video: bytes) -> None:
    with running(FakeEngines(seconds_per_frame=SLOW), settings) as client:
        job = submit(client, video)
        client.delete(job)
        assert submit(client, video) != job
        failed = submit(client, b"no video")
        client.delete(f"/v1/jobs/{submit(client, video, params={'stride': 3}).rsplit('/')[-1]}")
        assert failed != job


def test_an_idempotency_key_belongs_to_one_job_and_one_request(client: TestClient, video: bytes) -> None:
    headers = {"Idempotency-Key": "Mine/1"}
    job = submit(client, video, headers=headers)
    again = client.post("/v1/jobs", content=video, headers=headers)
    assert (again.status_code, again.headers["location"]) == (200, job)
    other = client.post("/v1/jobs", content=video, headers=headers, params={"stride": 2})
    assert code(other) == (422, "idempotency_key_reused")
    assert submit(client, video, headers={"Idempotency-Key": "Mine/2"}) != job


def test_files_of_jobs_stay_within_jobs_max_bytes(settings: ServerSettings, video: bytes) -> None:
    with running(FakeEngines(), settings, jobs_max_bytes=len(video) - 1) as client:
        assert code(client.post("/v1/jobs", content=video)) == (507, "jobs_full")
    with running(FakeEngines(), settings, jobs_max_bytes=len(video) + 100) as client:
        assert ended(client, submit(client, video))["error"]["code"] == "jobs_full"


def test_jobs_beyond_the_queue_get_retry_after(settings: ServerSettings, video: bytes) -> None:
    with running(FakeEngines(seconds_per_frame=SLOW), settings, jobs_max_queued=1) as client:
        first = submit(client, video)
        wait_until(lambda: state(client, first) == "running")
        submit(client, video, params={"stride": 2})
        refused = client.post("/v1/jobs", content=video, params={"stride": 3})
        assert code(refused) == (503, "server_busy")
        assert int(refused.headers["retry-after"]) > 0


def test_ended_jobs_expire(settings: ServerSettings, video: bytes) -> None:
    with running(FakeEngines(), settings, jobs_ttl=0.3) as client:
        job = submit(client, video)
        wait_until(lambda: client.get(job).status_code == 404)
        wait_until(lambda: files(settings) == [])


def test_a_folder_has_one_server(settings: ServerSettings, video: bytes) -> None:
    second = running(FakeEngines(), settings)
    with running(FakeEngines(), settings) as first:
        with pytest.raises(JobsPlaceError, match="another server works in the jobs folder"):
            second.__enter__()
        submit(first, video)


def test_a_server_whose_default_folder_is_in_use_serves_without_jobs(tmp_path: Path, video: bytes) -> None:
    settings = ServerSettings(spool_dir=tmp_path)
    with running(FakeEngines(), settings) as first, running(FakeEngines(), settings) as second:
        submit(first, video)
        assert code(second.post("/v1/jobs", content=video)) == (503, "jobs_unavailable")
        assert second.post("/detect", content=video).status_code == 200


class TestEvents:
    @staticmethod
    def events(response: Response) -> list[tuple[int, str, dict[str, Any]]]:
        found = []
        for block in response.text.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "event" in fields:
                found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
        return found

    def test_they_tell_the_progress_and_the_end(self, settings: ServerSettings, video: bytes) -> None:
        with running(FakeEngines(seconds_per_frame=SLOW), settings) as client:
            job = submit(client, video)
            response = client.get(f"{job}/events")
            assert response.headers["content-type"].startswith("text/event-stream")
            told = self.events(response)
            assert [kind for _, kind, _ in told] == ["progress"] * (len(told) - 1) + ["end"]
            done = [view["progress"]["done"] for _, _, view in told]
            assert done == sorted(done) and len(set(done)) > 3 and done[-1] == FRAMES
            versions = [version for version, _, _ in told]
            assert versions == sorted(set(versions))

    def test_who_comes_back_gets_what_is_new(self, client: TestClient, video: bytes) -> None:
        job = submit(client, video)
        *_, (version, kind, _) = self.events(client.get(f"{job}/events"))
        assert kind == "end"
        again = client.get(f"{job}/events", headers={"Last-Event-ID": str(version - 1)})
        assert [event[:2] for event in self.events(again)] == [(version, "end")]
        seen = client.get(f"{job}/events", headers={"Last-Event-ID": str(version)})
        assert seen.status_code == 204

    def test_the_id_must_be_one(self, client: TestClient, video: bytes) -> None:
        job = submit(client, video)
        response = client.get(f"{job}/events", headers={"Last-Event-ID": "x"})
        assert code(response) == (422, "invalid_parameter")
        assert response.json()["parameter"] == "Last-Event-ID"
