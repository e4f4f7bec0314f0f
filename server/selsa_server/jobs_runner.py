"""One run of one job, in a worker thread: from the video in the folder to records in the results file."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import structlog

from selsa_server.batching import CallDroppedError
from selsa_server.errors import DetectError, JobError
from selsa_server.jobs_folder import JobsFolder
from selsa_server.jobs_results import JobRecord, ResultsFile
from selsa_server.jobs_store import JobRow, JobStore
from selsa_server.metrics import Metrics
from selsa_server.progress import Progress
from selsa_server.record_run import DetectionService
from selsa_server.schema import DetectParams, ErrorRecord, SummaryRecord, VideoRecord

__all__ = ["JobRunner"]

# Records of this many seconds at most wait to be written together: a sync costs milliseconds.
FLUSH_SECONDS: Final = 0.2
# A video that ends the process this many times in a row without a further frame is not tried again.
MAX_ATTEMPTS: Final = 5


@dataclass(slots=True)
class _Run:
    """One run of one job, on the model's service if there is one."""

    row: JobRow
    service: DetectionService | None
    results: ResultsFile
    stopped: Callable[[], bool]
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRunner:
    """Works on jobs that were claimed; holds nothing between them and is safe for several threads.

    A job goes on after the last record that is on disk, if the bundle is the one that made it, since the
    records depend on video, parameters and bundle alone; with another bundle under the model's name it starts
    over, and without a model of that name it fails.

    Attributes:
        store: state of the jobs.
        folder: their files.
        max_bytes: of all jobs' files.
        changed: called after every change of a job.
        metrics: what became of the frames is counted here.
    """

    store: JobStore
    folder: JobsFolder
    max_bytes: int
    changed: Callable[[], None]
    metrics: Metrics

    def run(
        self, row: JobRow, service: DetectionService | None, stopped: Callable[[], bool], progress: Progress
    ) -> None:
        """Work on a job until it ends or `stopped`, asked before every engine call and while one waits.

        Args:
            row: the job.
            service: of the model it is for; None when there is no such model any more.
            stopped: whether the job was cancelled, or the server ends.
            progress: kept up to date.
        """
        emitted = corrupt = 0
        try:
            with ResultsFile(self.folder.begin_results(row.id)) as results:
                self._go_on(_Run(row, service, results, stopped, progress))
                emitted, last = results.added, results.last
                corrupt = last.corrupt if isinstance(last, SummaryRecord) else 0
        finally:
            now = self.store.get(row.id)
            cancelled = now is None or now.state == "cancelled"
            if cancelled:
                self.folder.drop(row.id)
            elif now is not None and now.has_ended:
                self.folder.drop_video(row.id)
            # What a server that ends leaves undone is not saved: the next one does it.
            saved = progress.left if cancelled else 0
            self.metrics.frames("job", emitted=emitted, corrupt=corrupt, saved=saved)
            self.changed()

    def _go_on(self, run: "_Run") -> None:
        row, results = run.row, run.results
        try:
            # A stop between the last record and the change of state leaves a job that ended unnoticed.
            if not isinstance(results.last, SummaryRecord | ErrorRecord):
                self._detect(run)
        except DetectError as error:
            results.append([error.record(results.frames)])
        except Exception as error:  # noqa: BLE001 - a job always ends with a record; the log has the rest
            structlog.get_logger().error("job failed", job=row.id, exc_info=error)
            hidden = DetectError("internal_error", "The server failed on this video; its log says why.")
            results.append([hidden.record(results.frames)])
        if isinstance(results.last, SummaryRecord):
            self.store.end(row.id, "done", size=results.bytes)
        elif isinstance(results.last, ErrorRecord):
            problem = DetectError(results.last.code, results.last.detail).problem()
            # The same content may be sent again; only a key that the client chose stays taken.
            keep = (row.reuse_key or "").startswith("key:")
            text = problem.model_dump_json()
            self.store.end(row.id, "failed", size=results.bytes, problem=text, keep_key=keep)

    def _detect(self, run: "_Run") -> None:
        row, results = run.row, run.results
        if row.attempts > MAX_ATTEMPTS:
            raise DetectError("internal_error", f"The server ended {MAX_ATTEMPTS} times on this video.")
        if run.service is None:
            raise JobError(
                "model_gone", f"The model {row.model} is not served any more; send the video again."
            )
        pipeline, _ = run.service.for_caller(run.stopped)
        if row.bundle != pipeline.bundle.digest:
            results.clear()
            self.store.start_over(row.id, pipeline.bundle.digest)
            run.row = replace(row, done=0)
        begun, resume = results.last is not None, results.resume
        params = DetectParams.model_validate_json(row.params)
        video = self.folder.video(row.id)
        records = pipeline.run(video, params, stopped=run.stopped, progress=run.progress, resume=resume)
        pending: list[JobRecord] = []
        flushed = 0.0
        try:
            for record in records:
                if begun and isinstance(record, VideoRecord):
                    continue
                pending.append(record)
                if time.monotonic() - flushed >= FLUSH_SECONDS:
                    self._flush(run, pending)
                    flushed = time.monotonic()
        except CallDroppedError:
            # Stopped while a call waited for the engine: the records end here, as at any other stop.
            return
        finally:
            self._flush(run, pending)

    def _flush(self, run: "_Run", pending: list[JobRecord]) -> None:
        row, progress = run.row, run.progress
        run.results.append(pending)
        pending.clear()
        # Online mode sees all frames again to fill its bank; to the client that is no step back.
        done = max(progress.done, row.done)
        self.store.note_progress(row.id, done=done, total=progress.total, size=self.folder.size(row.id))
        self.changed()
        if self.store.size() > self.max_bytes:
            raise JobError(
                "jobs_full", f"The files of all jobs are larger than the {self.max_bytes} bytes allowed."
            )
