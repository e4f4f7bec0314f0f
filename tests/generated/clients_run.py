"""`make clients-test`: generate a Python and a TypeScript client from the OpenAPI document, and use them.

The script starts a real server of the packaged synthetic bundle, generates both clients from its
`/openapi.json`, checks the TypeScript program against the generated types, and runs `uses_python.py` and
`uses_typescript.ts` against the server. It needs Node 20.19 or newer and a network, so `make test` leaves it
out.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from selsa_bundle.default_bundle import synthetic_bundle, synthetic_video

HERE = Path(__file__).parent
PYTHON_GENERATOR = "openapi-python-client==0.29.1"
NODE_PACKAGES = (
    "openapi-typescript@7.13.0",
    "openapi-fetch@0.17.0",
    "typescript@5.9.3",
    "@types/node@20.19.0",
)
# Media types that the Python generator does not know, and what it takes them for.
OVERRIDES = {"video/mp4": "application/octet-stream", "application/x-ndjson": "text/plain"}
# Types of bodies that it leaves out, in favour of application/octet-stream.
LEFT_OUT = "Unsupported content type video/*"


def main() -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, help="keep everything in this folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        with serving(work) as address:
            document = work / "openapi.json"
            document.write_bytes(httpx.get(f"{address}/openapi.json", timeout=60).raise_for_status().content)
            video = str(synthetic_video())
            run([python_client(work, document), str(HERE / "uses_python.py"), address, video])
            run(["node", str(typescript_client(work, document)), address, video])


@contextmanager
def serving(work: Path) -> Iterator[str]:
    """The address of a server with jobs."""
    command = [str(Path(sys.executable).parent / "selsa"), "serve", "--port", "0", "--log-level", "warning"]
    options = ["--bundle", str(synthetic_bundle()), "--jobs-dir", str(work / "jobs")]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield next(line for line in process.stdout if line.startswith("Serving ")).split()[-1]
        finally:
            process.terminate()


def python_client(work: Path, document: Path) -> str:
    """The interpreter of an environment with the generated package `generated_selsa`."""
    folder = work / "python"
    venv.create(folder, with_pip=True, clear=True)
    python, pip = str(folder / "bin" / "python"), str(folder / "bin" / "pip")
    run([pip, "install", "--quiet", "--disable-pip-version-check", PYTHON_GENERATOR])
    config = work / "python-client.json"
    overrides = {"content_type_overrides": OVERRIDES, "post_hooks": []}
    config.write_text(json.dumps({"package_name_override": "generated_selsa", **overrides}))
    where = ["--path", str(document), "--output-path", str(folder / "client"), "--config", str(config)]
    said = run([str(folder / "bin" / "openapi-python-client"), "generate", *where])
    reasons = [line for line in said.splitlines() if line.startswith(("Cannot", "Unsupported", "Unable"))]
    if unexpected := [line for line in reasons if line != LEFT_OUT]:
        raise SystemExit("the Python client is not whole:\n" + "\n".join(unexpected))
    run([pip, "install", "--quiet", "--disable-pip-version-check", str(folder / "client")])
    return python


def typescript_client(work: Path, document: Path) -> Path:
    """The program that uses the generated types, checked and compiled."""
    folder = work / "typescript"
    folder.mkdir(exist_ok=True)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--save-exact", *NODE_PACKAGES], folder)
    run(["npx", "openapi-typescript", str(document), "--output", "selsa.d.ts"], folder)
    shutil.copy(HERE / "uses_typescript.ts", folder)
    options = ["--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck"]
    run(["npx", "tsc", *options, "uses_typescript.ts"], folder)
    return folder / "uses_typescript.js"


def run(command: list[str], folder: Path | None = None) -> str:
    """What a command says; its failure ends the script."""
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {done.returncode}:\n{said}")
    if command[-2].startswith("http"):
        print(said, end="", flush=True)
    return said


if __name__ == "__main__":
    main()
