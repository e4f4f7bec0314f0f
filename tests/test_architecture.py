"""What the architecture promises beyond what import-linter proves (`make lint` runs that)."""

import re
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import grimp
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
        ("selsa_server.api.app", ["torch", "torchvision", "timm", "onnx", "onnxscript"]),
        ("selsa_server.api.app", ["ray", "fsspec", "psycopg", "pyarrow"]),
        # Jobs import these when a server opens them, after its first frame.
        ("selsa_server.api.app", ["sqlalchemy", "httpx", "httpcore"]),
        ("selsa_server.cli.serve", ["torch", "fastapi", "onnxruntime", "av", "cv2", "numpy"]),
        ("selsa_server.cli.serve", ["sqlalchemy", "ray"]),
        ("selsa_server.cli.batch", ["ray", "fsspec", "pyarrow", "numpy", "sqlalchemy", "fastapi"]),
        ("selsa_server.pipeline.local", ["torch", "fastapi", "starlette", "uvicorn"]),
        # Imported while the engines load.
        ("selsa_server.pipeline.local", ["av", "onnxruntime", "openvino", "pydantic_settings"]),
        ("selsa_server.telemetry.log", ["rich", "pygments"]),
        ("selsa_bundle.runtimes.openvino", ["openvino.tools.ovc"]),
        ("selsa_server.schema.detect", ["numpy", "fastapi", "httpx"]),
        ("selsa_bundle", ["torch", "onnxruntime"]),
        ("selsa_training.config", ["torch", "onnxruntime"]),
        ("selsa_training.cli.evaluate", ["torch", "onnxruntime", "numpy", "cv2", "matplotlib"]),
        ("selsa_export.cli.export", ["torch", "onnx", "onnxscript"]),
    ],
)
def test_importing_a_module_does_not_import_what_it_has_no_need_of(module: str, banned: list[str]) -> None:
    code = f"import sys, {module}; print(sorted(set({banned!r}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_no_file_is_named_for_no_idea() -> None:
    assert [path for path in SOURCES if path.stem in VAGUE] == []


def test_a_file_has_at_most_400_lines() -> None:
    assert {str(p): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 400} == {}


def test_a_folder_has_at_most_16_files() -> None:
    files = [*SOURCES, *(ROOT / "benchmarks").rglob("*.py")]
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in files if path.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > 16} == {}


def test_the_server_has_at_most_24_entries_at_its_top() -> None:
    listed = [path for path in (ROOT / "server" / "selsa_server").iterdir() if path.name != "__pycache__"]
    assert len(listed) <= 24


def test_only_packages_list_their_public_names() -> None:
    listing = [path for path in SOURCES if path.name != "__init__.py" and "\n__all__ = " in path.read_text()]
    assert listing == []


def test_a_package_lists_names_that_it_has_and_in_order() -> None:
    for path in SOURCES:
        if path.name == "__init__.py" and "__all__" in path.read_text():
            module = import_module(".".join(path.relative_to(ROOT).parts[1:-1]))
            by_kind = sorted(module.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))
            assert list(module.__all__) in (sorted(module.__all__), by_kind)
            assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_nothing_imports_itself_through_others() -> None:
    """Neither modules nor sub-packages: a sub-package stands for all of its modules."""
    graph = grimp.build_graph(*(package for packages in FOLDERS.values() for package in packages))
    packages = [name for name in graph.modules if graph.find_children(name)]
    assert {name: found for name in packages if (found := graph.nominate_cycle_breakers(name))} == {}


def test_the_path_of_a_video_is_where_the_architecture_page_says() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    path = page.split("\n## The path of a video through `POST /detect`\n")[1].partition("\n## ")[0]
    steps = re.findall(r"`([a-z_/]+\.py):(\w+)`", path)
    assert len(steps) >= 15
    for file, name in steps:
        source = (ROOT / "server" / "selsa_server" / file).read_text()
        assert re.search(rf"^(class|def|async def) {name}\b", source, re.MULTILINE), (file, name)
    rooms = {file.partition("/")[0] for file, _ in steps if "/" in file}
    assert len(rooms) <= 9
