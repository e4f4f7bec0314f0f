"""Mixed load: all kinds of clients at the same time; afterwards the server's memory and files are checked."""

import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
from clients import BEHAVIOURS, Client, WrongAnswerError
from films import bad_films, good_films
from served import ServerProcess

__all__ = ["MixedLoad", "MixedReport", "run_mixed"]

GROWTH_ALLOWED = 0.05
ROUND_SECONDS = 300.0
SETTLED_AFTER = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedLoad:
    """How long and how much.

    After `warm_up` seconds and `warm_up_requests`, and then after each round, all clients finish what they
    do, and the idle server's memory is taken.
    """

    clients: int = 8
    seconds: float
    warm_up: float
    warm_up_requests: int = 0
    seed: int = 0


@dataclass(slots=True, kw_only=True)
class MixedReport:
    """What came of it.

    Attributes:
        seconds: from the first request to the last answer.
        outcomes: behaviour -> what came of it -> how often.
        frames: of complete responses.
        failures: answers that were not what they must be; empty when all is well.
        idle: bytes of memory after the warm-up and after each round, without clients; empty if unknown.
        busy: likewise with all clients, medians over the last quarter; they depend on what these do.
        left_open: files that the server holds open and did not before.
        left_in_spool: files that are still there.
    """

    seconds: float = 0.0
    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)
    frames: int = 0
    failures: list[str] = field(default_factory=list)
    idle: list[int] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    left_open: list[str] = field(default_factory=list)
    left_in_spool: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """So far."""
        return sum(sum(list(tally.values())) for tally in list(self.outcomes.values()))

    @property
    def growth(self) -> float:
        """Of the idle server's memory from the warm-up to the largest later figure, as a share."""
        return max(self.idle[1:]) / self.idle[0] - 1 if len(self.idle) > 1 else 0.0

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return not (self.failures or self.left_open or self.left_in_spool or self.growth > GROWTH_ALLOWED)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "growth": self.growth, "passed": self.passed}


def run_mixed(
    server: ServerProcess,
    load: MixedLoad,
    spool: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> MixedReport:
    """Put load on a server, then check its memory and open files.

    Args:
        server: where; without its pid neither memory nor open files are looked at.
        load: how much.
        spool: its folder for uploads, if it can be looked into.
        say: told now and then what goes on.
    """
    report = MixedReport()
    with tempfile.TemporaryDirectory() as folder:
        good = good_films(Path(folder))
    bad = bad_films(good)
    # Waits for the jobs, which a server opens after it is ready: their files stay open.
    httpx.get(f"{server.address}/v1/jobs", timeout=60)
    before = server.open_files() if server.pid else []
    clients = [
        Client(server.address, random.Random(load.seed + number), good, bad) for number in range(load.clients)
    ]
    started = time.monotonic()
    measured = load.seconds - load.warm_up
    rounds = max(1, round(measured / ROUND_SECONDS))
    for seconds, requests in [(load.warm_up, load.warm_up_requests), *[(measured / rounds, 0)] * rounds]:
        busy = _put_load(server, clients, time.monotonic() + seconds, requests, report, say)
        _look_for_leftovers(server, spool, before, report)
        if server.pid:
            report.busy.append(busy)
            report.idle.append(server.idle_memory())
            say(f"idle: {report.idle[-1] / 1e6:.1f} MB; median under load: {busy / 1e6:.1f} MB")
    report.seconds = time.monotonic() - started
    report.frames = sum(client.frames for client in clients)
    return report


def _put_load(
    server: ServerProcess,
    clients: list[Client],
    until: float,
    requests: int,
    report: MixedReport,
    say: Callable[[str], None],
) -> float:
    """All at once until then and so many requests; the median of memory over its last quarter."""
    stop, lock = threading.Event(), threading.Lock()
    with ThreadPoolExecutor(len(clients) + 1) as pool:
        watch = pool.submit(_watch, server, stop, report, say)
        work = [pool.submit(_use, client, until, requests, report, lock) for client in clients]
        try:
            for each in work:
                each.result()
        finally:
            stop.set()
        samples = watch.result()
    return statistics.median(samples[-len(samples) // 4 :]) if samples else 0.0


def _use(client: Client, until: float, requests: int, report: MixedReport, lock: threading.Lock) -> None:
    """One client's life: one request after another."""
    behaviours, weights = list(BEHAVIOURS), list(BEHAVIOURS.values())
    with client.connections():
        while time.monotonic() < until or report.requests < requests:
            (behaviour,) = client.chance.choices(behaviours, weights)
            name = behaviour.__name__
            try:
                outcome = behaviour(client)
            except (WrongAnswerError, httpx.HTTPError, OSError, ValueError, KeyError) as error:
                outcome = "failed"
                with lock:
                    report.failures.append(f"{name}: {type(error).__name__}: {error}"[:400])
            with lock:
                tally = report.outcomes.setdefault(name, {})
                tally[outcome] = tally.get(outcome, 0) + 1


def _watch(
    server: ServerProcess, stop: threading.Event, report: MixedReport, say: Callable[[str], None]
) -> list[int]:
    """Bytes of memory every half second; a line every half minute."""
    samples: list[int] = []
    started, said = time.monotonic(), 0
    while not stop.wait(0.5):
        if server.pid:
            samples.append(server.memory())
        if (time.monotonic() - started) // 30 > said:
            said += 1
            memory = f", {samples[-1] / 1e6:.0f} MB" if samples else ""
            say(f"{30 * said} s: {report.requests} requests, {len(report.failures)} failures{memory}")
    return samples


def _look_for_leftovers(
    server: ServerProcess, spool: Path | None, before: list[str], report: MixedReport
) -> None:
    """The server may notice late that clients left, so wait; what it still holds afterwards is leaked."""
    deadline = time.monotonic() + SETTLED_AFTER
    while True:
        now = server.open_files() if server.pid else []
        report.left_open = sorted((_kinds(now) - _kinds(before)).elements())
        files = [] if spool is None else [path for path in spool.iterdir() if path.is_file()]
        report.left_in_spool = sorted(path.name for path in files)
        if time.monotonic() > deadline or not (report.left_open or report.left_in_spool):
            return
        time.sleep(0.25)


def _kinds(opened: list[str]) -> "Counter[str]":
    """Files by name; sockets and pipes by number, for they have no name."""
    return Counter(name if name.startswith("/") else name.split(":")[0] for name in opened)
