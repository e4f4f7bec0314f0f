"""What one of several processes that run the tests takes at a time."""

from xdist.scheduler.loadscope import LoadScopeScheduling

__all__ = ["WorkUnits"]


class WorkUnits(LoadScopeScheduling):
    """A file is a unit, so that its fixtures are made once; the large published models are one unit each."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, name = nodeid.partition("::")
        if not file.endswith("test_published_models.py"):
            return file
        # The first parameter is the model, which is exported once for all tests on it.
        model = name.partition("[")[2].rstrip("]").partition("-")[0]
        return f"{file}::{model}"
