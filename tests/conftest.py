"""Fixtures that every folder of tests may use: real weights and a real bundle, made once.

`make tests` runs the tests in several processes (pytest-xdist); each takes a file at a time, long ones first.
"""

import faulthandler
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    # Torch is imported where it is used: most tests do without it.
    from selsa_training.checkpoint.checkpoint import Checkpoint


# What hypothesis tries is the same in every run, so that a failure is there again in the next; `make search`
# looks for more. However slow a machine is, no example takes too long.
_TAKE_YOUR_TIME: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("repeatable", derandomize=True, **_TAKE_YOUR_TIME)
_SEARCHED = int(os.environ.get("SELSA_EXAMPLES", "2000"))
settings.register_profile("search", max_examples=_SEARCHED, print_blob=True, **_TAKE_YOUR_TIME)
settings.load_profile("repeatable")

PARALLEL = "PYTEST_XDIST_WORKER" in os.environ


# Tests that hang are ended one by one, `faulthandler_timeout` in pyproject.toml. What hangs elsewhere, a
# process that is done and does not leave, say, is found by no test ending anywhere for so many seconds.
SILENCE = 1200.0


def pytest_configure(config: pytest.Config) -> None:
    """Set up the process: a cache of its own, and interrupts.

    What a shell starts in the background ignores interrupts; the commands that tests interrupt may not.
    """
    if "SELSA_CACHE" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="selsa-cache-")
        config.add_cleanup(folder.cleanup)
        os.environ["SELSA_CACHE"] = folder.name
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if getattr(config.option, "numprocesses", None):
        config.pluginmanager.register(RunWatch(config))


@pytest.fixture(scope="session", autouse=True)
def failures_do_not_wait() -> Iterator[None]:
    """A test that fails inside `with subprocess.Popen(...)` ends the process, and waits for it no longer."""
    wait = subprocess.Popen.__exit__

    def end(process: subprocess.Popen[Any], kind: Any, *more: Any) -> None:
        if kind is not None:
            process.kill()
        wait(process, kind, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__exit__", end)
        yield


@pytest.fixture(autouse=True)
def no_test_becomes_a_real_time_process() -> Iterator[None]:
    """Such a process starves the machine; an encoder can make one of its caller (`media.same_priority`)."""
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getscheduler(0)
    yield
    assert os.sched_getscheduler(0) == before


class RunWatch:
    """What must not wait for the end of a run of several processes, since it may never come."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        # Not captured yet.
        self.errors = os.dup(2)
        self.run: str | None = None
        self.wait_for_the_next()

    def wait_for_the_next(self) -> None:
        # `make search` sets 0: one of its tests may take hours.
        if float(self.config.getini("faulthandler_timeout")) > 0:
            faulthandler.dump_traceback_later(SILENCE, exit=True, file=self.errors)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Says at once what failed."""
        self.wait_for_the_next()
        self.run = getattr(report, "testrun_uid", self.run)
        if report.failed:
            terminal: Any = self.config.pluginmanager.getplugin("terminalreporter")
            terminal.write_line(f"\nFAILED {report.nodeid} ({report.when})\n{report.longreprtext}")

    def pytest_unconfigure(self) -> None:
        """Ends what a test left behind: it would keep whoever reads the output of the run waiting."""
        faulthandler.cancel_dump_traceback_later()
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if self.run and process.environ().get("PYTEST_XDIST_TESTRUNUID") == self.run:
                    os.write(self.errors, f"left behind: {' '.join(process.cmdline())[:300]}\n".encode())
                    process.kill()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In parallel the long ones come first, or one process would be at them when the others are done."""
    if PARALLEL:
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def built_once(tmp_path_factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """The folder `name`, built by whichever of the processes needs it first; the others wait for it."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if PARALLEL else own
    folder = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            build(folder)
    return folder


@pytest.fixture(scope="session")
def r18_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> "Checkpoint":
    """The small variant with the weights behind `tests/exactness/expected`."""
    from selsa_training.checkpoint.checkpoint import load_checkpoint, save_checkpoint
    from selsa_training.checkpoint.untrained import untrained_tensors
    from selsa_training.config import CONFIGS

    def build(folder: Path) -> None:
        config = CONFIGS["r18-dc5"]
        save_checkpoint(folder, config, untrained_tensors(config, 1), "untrained, seed 1")

    return load_checkpoint(built_once(tmp_path_factory, "r18-checkpoint", build))


@pytest.fixture(scope="session")
def r18_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `r18_checkpoint`; its engines were compared with torch when it was written."""

    def build(folder: Path) -> None:
        from selsa_export.bundle import export_bundle
        from selsa_export.parity.frames import procedural_frames

        # Asked for here, so that torch is imported only where the bundle is made.
        checkpoint = request.getfixturevalue("r18_checkpoint")
        export_bundle(checkpoint, folder, procedural_frames(2), "procedural clip")

    return built_once(tmp_path_factory, "r18-bundle", build)


@pytest.fixture(scope="session")
def r18_native_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the graphs that TensorRT engines are built from, in both precisions."""

    def build(folder: Path) -> None:
        from selsa_export.bundle import export_bundle
        from selsa_export.parity.frames import procedural_frames

        checkpoint = request.getfixturevalue("r18_checkpoint")
        frames = procedural_frames(2, height=120, width=160)
        export_bundle(checkpoint, folder, frames, "procedural clip", natives=("fp32", "fp16"))

    return built_once(tmp_path_factory, "r18-native-bundle", build)


@pytest.fixture(scope="session")
def r18_server(r18_bundle: Path) -> Iterator[str]:
    """The address of a real `selsa serve` process with that bundle."""
    with serving(r18_bundle) as (address, _):
        yield address


@contextmanager
def serving(bundle: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`selsa serve` on a free port, ready; told to stop at the end of the block."""
    command = [str(Path(sys.executable).parent / "selsa"), "serve", "--bundle", str(bundle), "--port", "0"]
    with (
        # Its jobs are its own: other tests' servers run at the same time.
        tempfile.TemporaryDirectory() as jobs,
        subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            text=True,
            env={"SELSA_JOBS_DIR": jobs, **os.environ},
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("Serving "))
            yield line.split()[-1], process
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder with the published code's outputs on larger models; tests skip aloud without it."""
    default = Path(__file__).resolve().parents[2] / "shared" / "reference"
    folder = Path(os.environ.get("SELSA_REFERENCE", default))
    if not (folder / "outputs").is_dir():
        pytest.skip(f"no published outputs at {folder}; set SELSA_REFERENCE to compare with them")
    return folder
