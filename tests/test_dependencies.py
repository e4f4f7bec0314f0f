"""The extras in pyproject.toml name what the packages import."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OWN = {"selsa_bundle", "selsa_server", "selsa_client", "selsa_training", "selsa_export"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")


def packages_of(extra: str) -> set[str]:
    """Distributions of the base install and of an extra, with those that it refers to."""
    found = {name_of(each) for each in PROJECT["dependencies"]}
    for requirement in EXTRAS[extra]:
        if inner := re.match(r"selsa\[(.*)\]$", requirement):
            found |= {name for each in inner[1].split(",") for name in packages_of(each)}
        else:
            found.add(name_of(requirement))
    return found


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports when it runs; imports for type checking are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for statement in block.body
        for node in ast.walk(statement)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names - OWN - set(sys.stdlib_module_names)


def test_every_imported_package_is_declared() -> None:
    declared = {name for extra in EXTRAS for name in packages_of(extra)}
    distributions = packages_distributions()
    missing = {
        (package, str(path.relative_to(ROOT)))
        for folder in ("server", "client", "training", "export")
        for path in (ROOT / folder).rglob("*.py")
        for package in imported(path)
        if not {name.lower().replace("_", "-") for name in distributions.get(package, [package])} & declared
    }
    assert missing == set()


@pytest.mark.parametrize("extra", ["server", "server-gpu"])
def test_both_server_extras_have_everything_that_serving_needs(extra: str) -> None:
    assert packages_of("serving") < packages_of(extra)
    assert {"onnxruntime", "onnxruntime-gpu"} & packages_of("serving") == set()


def test_the_local_pipeline_runs_with_the_packages_of_its_extra_only() -> None:
    others = {name for extra in ("serving", "openvino", "cluster", "tracing") for name in packages_of(extra)}
    distributions = packages_distributions()
    banned = {
        package
        for package, names in distributions.items()
        if {name.lower().replace("_", "-") for name in names} & (others - packages_of("local"))
    }
    code = f"""
import sys
for name in {sorted(banned)!r}:
    sys.modules[name] = None
from pathlib import Path
from selsa_bundle.default_bundle import synthetic_video
from selsa_server.pipeline.local import detect
from selsa_server.schema.detect import DetectParams
engines = {{"provider": "cpu", "precision": "fp32"}}
records = detect(synthetic_video(), DetectParams(max_detections=1), bundle=None, say=print, engines=engines)
print(next(records).type)
records.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "video"
