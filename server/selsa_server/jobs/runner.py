"""One run of one job, in a worker thread: from the stored video to stored records."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

import structlog

from selsa_server.errors import DecoderLostError, DetectError, EngineFailureError, shortage
from selsa_server.jobs.files import JobError, JobFiles, JobRecord, Results, RunLostError
from selsa_server.jobs.store import JobStore
from selsa_server.jobs.table import JobRow
from selsa_server.run_context import RunContext, StoppedError
from selsa_server.schema.detect import DetectParams, ErrorRecord, SummaryRecord, VideoRecord
from selsa_server.schema.problems import error_record
from selsa_server.service.detection import DetectionService
from selsa_server.telemetry.metrics import Metrics

# A video that ends the process this often in a row, without one more frame, is not tried again.
MAX_ATTEMPTS: Final = 5


@dataclass(slots=True)
class _Run:
    """One run of one job, on the model's service if there is one."""

    row: JobRow
    service: DetectionService | None
    results: Results
    context: RunContext
    video_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRunner:
    """Runs claimed jobs; has no state between them, so several threads may use it.

    A job continues after its last stored record if the bundle is the same, because records depend on video,
    parameters and bundle alone. With another bundle under the model's name it starts over; without a model of
    that name it fails.

    Attributes:
        store: state of the jobs.
        files: their videos and results.
        max_bytes: of all jobs' files.
        changed: called after every change of a job.
        metrics: counts frames by outcome.
    """

    store: JobStore
    files: JobFiles
    max_bytes: int
    changed: Callable[[], None]
    metrics: Metrics

    def run(self, row: JobRow, service: DetectionService | None, context: RunContext) -> None:
        """Work on a job until it ends or is stopped.

        Args:
            row: the job.
            service: detects with the job's model; None if that model is no longer served.
            context: stopped when the job is cancelled or the server ends; its progress is kept up to date.
        """
        emitted = corrupt = 0
        try:
            with self.files.results(row.id, row.run) as results:
                self._go_on(_Run(row, service, results, context))
                emitted, last = results.added, results.last
                corrupt = last.corrupt if isinstance(last, SummaryRecord) else 0
        finally:
            now = self.store.get(row.id)
            ours = now is None or now.run == row.run
            cancelled = now is None or now.state == "cancelled"
            if cancelled:
                self.files.drop(row.id)
            elif ours and now is not None and now.has_ended:
                self.files.drop_video(row.id)
            # Frames left by a server that ends are not saved: the next server works on them.
            saved = context.progress.left if cancelled else 0
            self.metrics.frames("job", emitted=emitted, corrupt=corrupt, saved=saved)
            self.changed()

    def _go_on(self, run: "_Run") -> None:
        row, results = run.row, run.results
        try:
            self._work_on(run)
        except RunLostError:
            now, log = self.store.get(row.id), structlog.get_logger()
            if now is None or now.state == "cancelled":
                log.info("job cancelled", job=row.id, run=row.run)
            else:
                log.warning("job taken over by another server", job=row.id, run=row.run)
            return
        if isinstance(results.last, SummaryRecord):
            self.store.end(row.id, "done", size=results.bytes, run=row.run, summary=results.last)
        elif isinstance(results.last, ErrorRecord):
            # The same content may be sent again; only an Idempotency-Key stays in use.
            keep = (row.reuse_key or "").startswith("key:")
            text = results.last.problem().model_dump_json()
            self.store.end(row.id, "failed", size=results.bytes, run=row.run, problem=text, keep_key=keep)

    def _work_on(self, run: "_Run") -> None:
        row, results = run.row, run.results
        try:
            # A stop after the last record and before the change of state leaves a finished job as running.
            if not isinstance(results.last, SummaryRecord | ErrorRecord):
                self._detect_or_retry(run)
        except RunLostError:
            raise
        except DetectError as error:
            # Engines that close with the server are no error of the video.
            if isinstance(error, EngineFailureError) and run.context.stopped():
                return
            results.append([error_record(error, results.frames)])
        except Exception as error:
            if shortage(error) is not None:  # there is no room for a record either; the job waits
                raise
            structlog.get_logger().error("job failed", job=row.id, exc_info=error)
            hidden = DetectError("internal_error", "The server failed on this video; its log says why.")
            results.append([error_record(hidden, results.frames)])

    def _detect_or_retry(self, run: "_Run") -> None:
        """A second try if the decoder was killed from outside, as by a system without memory."""
        try:
            self._detect(run)
        except DecoderLostError as lost:
            structlog.get_logger().warning(
                "decoder lost, job tried again", job=run.row.id, detail=lost.detail
            )
            self._detect(run)

    def _detect(self, run: "_Run") -> None:
        row, results = run.row, run.results
        if row.attempts > MAX_ATTEMPTS:
            raise DetectError("internal_error", f"The server ended {MAX_ATTEMPTS} times on this video.")
        if run.service is None:
            raise JobError(
                "model_gone", f"The model {row.model} is not served any more; send the video again."
            )
        pipeline = run.service.for_run(run.context)
        if row.bundle != pipeline.bundle.digest:
            results.clear()
            self.store.start_over(row.id, pipeline.bundle.digest, run=row.run)
            run.row = replace(row, done=0)
        with self.files.video(row.id) as video:
            run.video_bytes = video.stat().st_size
            self._keep(
                run,
                pipeline.run(
                    video,
                    DetectParams.model_validate_json(row.params),
                    run.context,
                    results.resume,
                ),
                resumed=results.last is not None,
            )

    def _keep(self, run: "_Run", records: Iterable[JobRecord], *, resumed: bool) -> None:
        """Store the records; `resumed`: an earlier run stored the video record."""
        pending: list[JobRecord] = []
        start, flushed = time.monotonic(), 0.0
        try:
            for record in records:
                if resumed and isinstance(record, VideoRecord):
                    continue
                pending.append(record)
                now = time.monotonic()
                if now - flushed >= self.files.patience(now - start):
                    self._flush(run, pending)
                    flushed = time.monotonic()
        except StoppedError:
            # Stopped while a call waited for the engine.
            return
        finally:
            self._flush(run, pending)

    def _flush(self, run: "_Run", pending: list[JobRecord]) -> None:
        row, progress = run.row, run.context.progress
        run.results.append(pending)
        pending.clear()
        # Online mode runs all frames again to fill its bank; progress does not go back.
        done = max(progress.done, row.done)
        size = run.video_bytes + run.results.bytes
        ours = self.store.note_progress(row.id, run=row.run, done=done, total=progress.total, size=size)
        self.changed()
        if not ours:
            raise RunLostError
        if self.store.size() > self.max_bytes:
            raise JobError(
                "jobs_full", f"The files of all jobs are larger than the {self.max_bytes} bytes allowed."
            )
