"""What the architecture promises beyond what import-linter proves (`make lint` runs that)."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "server": ["selsa_bundle", "selsa_server"],
    "training": ["selsa_training"],
    "export": ["selsa_export"],
    "client": ["selsa_client"],
}
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
VAGUE = {"utils", "util", "misc", "helpers", "common", "tools"}


@pytest.mark.parametrize(
    ("module", "banned"),
    [
        ("selsa_server.app", ["torch", "torchvision", "timm", "onnx", "onnxscript"]),
        ("selsa_server.app", ["ray", "fsspec", "psycopg", "pyarrow"]),
        ("selsa_server.cli", ["torch", "fastapi", "onnxruntime", "av", "cv2", "numpy"]),
        ("selsa_server.cli", ["sqlalchemy", "ray"]),
        ("selsa_server.cli_batch", ["ray", "fsspec", "pyarrow", "numpy", "sqlalchemy", "fastapi"]),
        ("selsa_server.local", ["torch", "fastapi", "starlette", "uvicorn"]),
        ("selsa_server.schema", ["numpy", "fastapi", "httpx"]),
        ("selsa_bundle", ["torch", "onnxruntime"]),
        ("selsa_training.config", ["torch", "onnxruntime"]),
        ("selsa_training.cli_evaluate", ["torch", "onnxruntime", "numpy", "cv2", "matplotlib"]),
        ("selsa_export.cli", ["torch", "onnx", "onnxscript"]),
    ],
)
def test_importing_a_module_does_not_import_what_it_has_no_need_of(module: str, banned: list[str]) -> None:
    code = f"import sys, {module}; print(sorted(set({banned!r}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_no_file_is_named_for_no_idea() -> None:
    assert [path for path in SOURCES if path.stem in VAGUE] == []


def test_files_are_one_idea_long() -> None:
    assert {str(p): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 260} == {}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_public_is_listed_and_sorted(path: Path) -> None:
    if path.name == "__init__.py" and "__all__" not in path.read_text():
        return
    name = ".".join(path.relative_to(ROOT / path.relative_to(ROOT).parts[0]).with_suffix("").parts)
    public = import_module(name.removesuffix(".__init__")).__all__
    by_kind = sorted(public, key=lambda item: (not item.isupper(), item[0].islower(), item))
    assert list(public) in (sorted(public), by_kind)
