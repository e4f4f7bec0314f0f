"""Fake engines in the replicas of a real cluster."""

from dataclasses import dataclass

from fake_engines import FakeEngines
from fakes import fake_bundle

from selsa_bundle.runtimes.load import LoadedBundle

__all__ = ["FakeLoad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeLoad:
    """Gives a fake bundle where it is called; two that differ are two applications on the cluster."""

    seconds_per_frame: float = 0.0
    fail_at: int | None = None
    name: str = ""

    def __call__(self) -> LoadedBundle:
        return fake_bundle(FakeEngines(seconds_per_frame=self.seconds_per_frame, fail_at=self.fail_at))
