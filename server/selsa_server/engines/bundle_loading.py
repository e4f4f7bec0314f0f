"""Loads a bundle's engines on the provider and in the precision of the settings."""

from pathlib import Path

import structlog

from selsa_bundle.runtimes.choice import EngineOptions
from selsa_bundle.runtimes.engine_cache import default_engine_cache
from selsa_bundle.runtimes.load import EnginePlan, LoadedBundle, plan_engines
from selsa_server.settings import EngineSettings


def load_bundle(folder: Path, settings: EngineSettings) -> LoadedBundle:
    """Check the bundle in `folder` and load its engines.

    Raises:
        BundleError: it cannot be used, or does not run as asked for.
    """
    return plan_bundle(folder, settings).load()


def plan_bundle(folder: Path, settings: EngineSettings) -> EnginePlan:
    """Choose how to run the bundle in `folder`; see `plan_engines`.

    Raises:
        BundleError: it cannot be used, or does not run as asked for.
    """
    options = EngineOptions(
        provider=settings.provider,
        precision=settings.precision,
        calls=settings.engine_calls,
        threads=settings.threads,
        allow_cpu=settings.allow_cpu,
        max_batch=settings.max_batch,
        engine_cache=settings.engine_cache or default_engine_cache(),
        size=settings.size,
        say=structlog.get_logger().info,
    )
    return plan_engines(folder, options)
