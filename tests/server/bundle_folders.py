"""Bundles on disk that pass every check, and a loader that gives them engines without a network."""

import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from fake_engines import FakeEngines
from fakes import LIMITS, fake_bundle

from selsa_bundle.errors import EngineError
from selsa_bundle.files.stored_file import StoredFile
from selsa_bundle.manifest import EngineFile
from selsa_bundle.preprocess import Preprocess
from selsa_bundle.runtimes.load import LoadedBundle, verify_bundle
from selsa_server.pipeline.pipeline import DetectionPipeline
from selsa_server.pipeline.sequence_run import PipelineOptions

__all__ = ["FakeLoader", "solo", "write_bundle"]


def write_bundle(folder: Path, *classes: str, size: tuple[int, int] = (64, 48)) -> str:
    """A bundle with these classes that resizes to `size` (w, h), for scores of its own; its digest."""
    folder.mkdir(parents=True)
    manifest = fake_bundle(FakeEngines()).manifest
    for name in ("frame.onnx", "sequence.onnx", "parity.json"):
        (folder / name).write_bytes(name.encode())
    engines = {
        name: EngineFile(**StoredFile.of(folder / f"{name}.onnx").model_dump(), tensors=engine.tensors)
        for name, engine in manifest.engines["fp32"].items()
    }
    changes = {
        "classes": classes,
        "preprocess": Preprocess(long_side=size[0], short_side=size[1]),
        "engines": {"fp32": engines},
        "parity": StoredFile.of(folder / "parity.json"),
    }
    (folder / "manifest.json").write_bytes(manifest.model_copy(update=changes).to_json())
    return verify_bundle(folder)[1]


class FakeLoader:
    """Loads what `write_bundle` wrote. A folder whose name begins with `bad` has engines that cannot run.

    Attributes:
        gate: loading waits until it is set.
        closed: for each engine that was made, how often it was closed.
    """

    def __init__(self, *, seconds_per_frame: float = 0.0) -> None:
        self._seconds = seconds_per_frame
        self.gate = threading.Event()
        self.gate.set()
        self.closed: list[int] = []
        self._alive: list[weakref.ref[FakeEngines]] = []

    def __call__(self, folder: Path) -> LoadedBundle:
        self.gate.wait(300)
        manifest, digest = verify_bundle(folder)
        if folder.name.startswith("broken"):
            raise EngineError(f"ONNX Runtime cannot load {folder}/frame.onnx")
        engines = _Counted(self._made(), self._seconds, fail_at=0 if folder.name.startswith("bad") else None)
        self._alive.append(weakref.ref(engines))
        return LoadedBundle(manifest=manifest, digest=digest, engines=engines)

    @property
    def alive(self) -> int:
        """Engines that were made and that somebody still holds."""
        return sum(each() is not None for each in self._alive)

    def _made(self) -> Callable[[], None]:
        self.closed.append(0)
        number = len(self.closed) - 1

        def count() -> None:
            self.closed[number] += 1

        return count


class _Counted(FakeEngines):
    def __init__(self, on_close: Callable[[], None], seconds: float, fail_at: int | None) -> None:
        super().__init__(seconds_per_frame=seconds, fail_at=fail_at)
        self._on_close = on_close

    def close(self) -> None:
        super().close()
        self._on_close()


def solo(folder: Path) -> DetectionPipeline:
    """The bundle's pipeline without a server around it."""
    bundle = FakeLoader()(folder)
    return DetectionPipeline(bundle, PipelineOptions(limits=LIMITS))
