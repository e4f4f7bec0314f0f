"""A worker of `selsa batch`: an actor of Ray Data that processes one video after the other.

It decodes here, and sends frames to the shared frame engines.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from selsa_bundle.runtimes.load import LoadedBundle
from selsa_server.batch.output import BatchOutput
from selsa_server.errors import DetectError, EngineFailureError
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions
from selsa_server.schema.detect import DetectParams, SummaryRecord

State = Literal["done", "there", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one video.

    Attributes:
        name: of its result.
        state: `done` in this run, `there` since an earlier run, or `failed`.
        frames: that have a record.
        code: of the failure, a key of `schema.problems.TITLES`.
        detail: why it failed.
    """

    name: str
    address: str
    state: State
    frames: int = 0
    code: str = ""
    detail: str = ""


class VideoWorker:
    """Works on videos one at a time.

    Args:
        open_bundle: gives the bundle, its frame engine on the cluster.
        options: of the pipeline.
        params: `DetectParams` as JSON.
    """

    def __init__(
        self,
        open_bundle: Callable[[], LoadedBundle],
        options: PipelineOptions,
        params: str,
        output: BatchOutput,
    ) -> None:
        self._pipeline = DetectionPipeline(open_bundle(), options)
        self._params = DetectParams.model_validate_json(params)
        self._output = output

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """The outcomes of the videos of a batch, as columns."""
        outcomes = [
            self._work(str(address), str(name))
            for address, name in zip(batch["address"], batch["name"], strict=True)
        ]
        return {field: [getattr(each, field) for each in outcomes] for field in Outcome.__slots__}

    def _work(self, address: str, name: str) -> Outcome:
        # Ray repeats the block of a dead worker; finished videos are skipped.
        if self._output.has(name):
            return Outcome(name=name, address=address, state="there")
        frames = 0

        def counted(path: Path) -> Iterator[Any]:
            nonlocal frames
            for record in self._pipeline.run(path, self._params):
                if isinstance(record, SummaryRecord):
                    frames = record.emitted
                yield record

        try:
            with _local_file(address) as path:
                self._output.write(name, counted(path))
        except EngineFailureError as error:
            reason = str(error.__cause__ or error.detail)
            return _failed(name, address, error.code, f"{error.detail} {reason}")
        except DetectError as error:
            return _failed(name, address, error.code, error.detail)
        except Exception as error:  # noqa: BLE001 - one video must not end the others
            return _failed(name, address, "internal_error", f"{type(error).__name__}: {error}")
        return Outcome(name=name, address=address, state="done", frames=frames)


def _failed(name: str, address: str, code: str, detail: str) -> Outcome:
    line = " ".join(detail.split())[:1000]
    return Outcome(name=name, address=address, state="failed", code=code, detail=line)


@contextmanager
def _local_file(address: str) -> Iterator[Path]:
    """The video as a local file; a remote one is copied, and the copy is deleted."""
    import fsspec.core
    from fsspec.implementations.local import LocalFileSystem

    files, path = fsspec.core.url_to_fs(address)
    if isinstance(files, LocalFileSystem):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="selsa-batch-") as folder:
        copy = Path(folder) / "video"
        files.get_file(path, str(copy))
        yield copy
