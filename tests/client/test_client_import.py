"""The client imports no packages of the server or of training."""

import subprocess
import sys

import pytest

HEAVY = [
    "numpy",
    "torch",
    "torchvision",
    "cv2",
    "onnxruntime",
    "av",
    "fastapi",
    "starlette",
    "orjson",
    "onnx",
    "timm",
    "supervision",
    "websockets",
]

COMMAND = """
import sys, contextlib, io, selsa_client.cli.main as cli
sys.argv[1:] = %s
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as page:
    cli.main()
assert "detect" in page.getvalue()
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "statement",
    [
        "import selsa_client; selsa_client.Client('http://h'); selsa_client.AsyncClient('http://h')",
        "import selsa_client.cli.detect",
        COMMAND % "['--help']",
        COMMAND % "['detect', '--help']",
    ],
    ids=["sdk", "detect", "help", "detect help"],
)
def test_nothing_heavy_is_imported(statement):
    code = f"{statement}\nimport sys; print(*(set({HEAVY!r}) & set(sys.modules)))"
    assert run(code).split() == []


@pytest.mark.parametrize("arguments", [["--help"], ["detect", "--help"]])
def test_help_needs_no_http(arguments):
    assert run(COMMAND % arguments + "\nprint(*({'httpx', 'httpcore'} & set(sys.modules)))").split() == []


def test_the_help_page_imports_neither_models_nor_an_event_loop():
    modules = ["pydantic", "pydantic_core", "httpx", "anyio", "asyncio", "email.mime", "http.client"]
    assert run(COMMAND % "['--help']" + f"\nprint(*(set({modules!r}) & set(sys.modules)))").split() == []


def test_the_help_page_imports_no_command():
    code = (
        COMMAND % "['--help']" + "\n"
        "print(*(m for m in sys.modules if m.startswith(('selsa_training', 'selsa_export', 'selsa_bundle'))))"
    )
    assert run(code).split() == []


def test_all_exported_names_exist():
    import selsa_client

    assert sorted(selsa_client.__all__, key=str) == sorted(set(selsa_client.__all__))
    assert all(hasattr(selsa_client, name) for name in selsa_client.__all__)
    assert selsa_client.__version__
    with pytest.raises(AttributeError):
        _ = selsa_client.nothing
