"""Videos of many frame sizes, one after the other: whether a server keeps memory for each size."""

import random
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from served import serving

from selsa_server.bench.sample_video import write_sample_video

__all__ = ["SizesReport", "run_sizes"]

GROWTH_ALLOWED = 0.05
FRAMES = 6
# Sizes whose median is one figure.
STEP = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SizesReport:
    """What came of it.

    Attributes:
        provider: that the engines ran on.
        sizes: different frame sizes, one video each.
        idle: bytes of memory for every `STEP` sizes: medians of the figures after each of them. Single
            figures go up and down, since the engines' arenas grow and are trimmed.
    """

    provider: str
    sizes: int
    idle: list[float]

    @property
    def growth(self) -> float:
        """From the first figure to the largest later one, as a share."""
        return max(self.idle[1:]) / self.idle[0] - 1

    @property
    def passed(self) -> bool:
        """Whether the growth is allowed."""
        return self.growth <= GROWTH_ALLOWED

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "growth": self.growth, "passed": self.passed}


def run_sizes(
    bundle: Path, provider: str, sizes: int, options: list[str], say: Callable[[str], None] = lambda _: None
) -> SizesReport:
    """Send one video of each size to a new server with engines on `provider`."""
    chance = random.Random(0)
    # The first is square, the largest input of the engines: memory is at its level once they had that.
    found: dict[tuple[int, int], None] = {(640, 640): None}
    while len(found) < sizes:
        found[chance.randrange(32, 641) * 2, chance.randrange(24, 361) * 2] = None
    taken: list[int] = []
    idle: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(bundle, ["--provider", provider, *options]) as server,
    ):
        video = Path(folder) / "video.mp4"
        with httpx.Client(base_url=server.address, timeout=120) as http:
            for number, (width, height) in enumerate(found, 1):
                write_sample_video(video, FRAMES, width=width, height=height)
                _detect(http, video, "online" if number % 2 else "sequence")
                taken.append(server.idle_memory())
                if number % STEP == 0:
                    idle.append(statistics.median(taken[-STEP:]))
                    low, high = min(taken[-STEP:]) / 1e6, max(taken[-STEP:]) / 1e6
                    say(f"{provider}: {number} sizes, {idle[-1] / 1e6:.1f} MB ({low:.1f} to {high:.1f})")
    return SizesReport(provider=provider, sizes=sizes, idle=idle)


def _detect(http: httpx.Client, video: Path, mode: str) -> None:
    answer = http.post("/detect", content=video.read_bytes(), params={"mode": mode})
    if answer.status_code != 200 or len(answer.json()["frames"]) != FRAMES:
        raise SystemExit(f"wrong answer: {answer.status_code} {answer.text[:200]}")
