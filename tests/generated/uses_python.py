"""Uses the generated Python client: every operation that a server without `bundle_dir` has."""

import json
import sys
import time
from io import BytesIO
from pathlib import Path

from generated_selsa import Client
from generated_selsa.api.detection import detect, draw
from generated_selsa.api.jobs import (
    create_job,
    delete_job,
    get_job,
    get_job_events,
    get_job_results,
    list_jobs,
)
from generated_selsa.api.models import get_model, list_models, load_model
from generated_selsa.api.server import (
    get_default_model,
    get_liveness,
    get_metrics,
    get_readiness,
    list_ready_models,
)
from generated_selsa.models import (
    Alive,
    DetectFilesBody,
    DetectionDocument,
    DetectMode,
    DrawBody,
    Job,
    JobList,
    JobState,
    LoadModel,
    Problem,
)
from generated_selsa.types import File


def main() -> None:
    """Use all operations; a wrong response ends the program."""
    address, video = sys.argv[1], Path(sys.argv[2]).read_bytes()
    client = Client(address, timeout=120)
    assert get_liveness.sync(client=client) == get_readiness.sync(client=client) == Alive()
    document = detections(client, video)
    drawn(client, video, document)
    jobs(client, video)
    models(client)
    print("Python client: all operations used")


def detections(client: Client, video: bytes) -> DetectionDocument:
    raw = detect.sync(client=client, body=File(BytesIO(video)), stride=2, mode=DetectMode.ONLINE)
    assert isinstance(raw, DetectionDocument), raw
    form = DetectFilesBody(file=File(BytesIO(video), file_name="a.mp4"))
    again = detect.sync(client=client, body=form, stride=2, mode=DetectMode.ONLINE)
    assert isinstance(again, DetectionDocument), again
    assert [frame.to_dict() for frame in again.frames] == [frame.to_dict() for frame in raw.frames]
    assert any(frame.detections for frame in raw.frames)
    refused = detect.sync(client=client, body=File(BytesIO(b"no video")))
    assert isinstance(refused, Problem) and refused.code == "not_a_video", refused
    return raw


def drawn(client: Client, video: bytes, document: DetectionDocument) -> None:
    lines = "\n".join(json.dumps(frame.to_dict()) for frame in document.frames)
    body = DrawBody(records=lines, file=File(BytesIO(video), file_name="a.mp4"))
    found = draw.sync(client=client, body=body)
    assert isinstance(found, File) and found.payload.read()[4:8] == b"ftyp", found


def jobs(client: Client, video: bytes) -> None:
    made = [create_job.sync(client=client, body=File(BytesIO(video)), stride=each) for each in (3, 4, 5)]
    ids = [job.id for job in made if isinstance(job, Job)]
    assert len(ids) == 3, made
    events = get_job_events.sync_detailed(job_id=ids[0], client=client)
    last = Job.from_dict(json.loads(events.content.decode().split("data: ")[-1]))
    assert last.state == JobState.DONE, last
    records = get_job_results.sync(job_id=ids[0], client=client)
    assert isinstance(records, str) and len(records.splitlines()) == last.progress.done + 2
    for format_ in ("csv", "coco", "mot"):
        # The generated function has the one format only.
        other = client.get_httpx_client().get(f"/v1/jobs/{ids[0]}/results", params={"format": format_})
        assert (other.status_code, Problem.from_dict(other.json()).code) == (406, "not_acceptable")
    assert paged(client) == ids[::-1]
    for job_id in ids:
        while (job := get_job.sync(job_id=job_id, client=client)) and job.state != JobState.DONE:
            time.sleep(0.1)
        assert delete_job.sync_detailed(job_id=job_id, client=client).status_code == 204
    gone = get_job.sync(job_id=ids[0], client=client)
    assert isinstance(gone, Problem) and gone.code == "job_not_found", gone


def paged(client: Client) -> list[str]:
    """Ids of all jobs, by pages of two."""
    found: list[str] = []
    before = None
    while True:
        page = list_jobs.sync(client=client, limit=2, before=before)
        assert isinstance(page, JobList), page
        found += [job.id for job in page.jobs]
        if (before := page.next_) is None:
            return found


def models(client: Client) -> None:
    (status,) = list_models.sync(client=client)
    assert get_model.sync(name=status.name, client=client) == status
    detailed = get_default_model.sync(client=client)
    assert detailed.served_as == status.name
    assert list_ready_models.sync(client=client) == [detailed]
    refused = load_model.sync(name="other", client=client, body=LoadModel(path="other"))
    assert isinstance(refused, Problem) and refused.code == "models_fixed", refused
    assert b"selsa_" in get_metrics.sync_detailed(client=client).content


if __name__ == "__main__":
    main()
