"""`make release`: wheel and sdist in dist/, proven to be whole, with a bill of materials and the licences.

Each extra gets an empty environment with the wheel and that extra alone, in which every module that the extra
is for is imported. `--reuse training=PYTHON` takes what is installed for that interpreter instead of
installing an extra of gigabytes; the modules still come from the wheel.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from wheel_contents import check_wheel

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
WORK = ROOT / "work" / "release"
DIST = ROOT / "dist"
# The modules that must be importable with an extra, as packages or as modules; the base install is "".
PROMISED = {
    "": ["selsa_client"],
    "live": ["selsa_client"],
    "supervision": ["selsa_client"],
    "parquet": ["selsa_client"],
    "local": ["selsa_client", "selsa_bundle"],
    "server": ["selsa_client", "selsa_bundle", "selsa_server"],
    "server,tracing": ["selsa_client", "selsa_bundle", "selsa_server"],
    "server,openvino": ["selsa_client", "selsa_bundle", "selsa_server"],
    "remote": ["selsa_client"],
    "server,cluster": ["selsa_client", "selsa_bundle", "selsa_server"],
    "tensorrt-rtx,server": ["selsa_client", "selsa_bundle", "selsa_server"],
    "training": ["selsa_client", "selsa_bundle", "selsa_training"],
    "tracks-evaluation": ["selsa_client", "selsa_bundle", "selsa_training"],
    "export": ["selsa_client", "selsa_bundle", "selsa_training", "selsa_export"],
}
# Modules that are imported when a runtime or cluster was chosen which needs an extra of its own.
OF_EXTRA = {"selsa_bundle.runtimes.openvino": "openvino", "selsa_server.cluster.engines": "cluster"}
BILLED = ("", "server", "server,tracing")


# A tree holds data and runs too; an sdist of hundreds of megabytes has taken them along.
MAX_SDIST_BYTES = 40 << 20


class ReleaseError(Exception):
    """This may not be released."""


def version() -> str:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def check_changelog(text: str, number: str, *, final: bool) -> None:
    """The change log has what is released; before the final build it may still be under Unreleased."""
    section = re.search(rf"^## \[{re.escape(number)}\] - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE)
    if section is None and final:
        raise ReleaseError(f"CHANGELOG.md has no section '## [{number}] - DATE'")
    if section is None:
        print(f"note: CHANGELOG.md has no section [{number}] yet; --final will ask for it")


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=WORK, env=env, check=False)
    if done.returncode != 0:
        raise ReleaseError(
            f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def build() -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it as anybody would."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(BIN / "python", "-m", "build", "--no-isolation", "--outdir", DIST, ROOT)
    (wheel,), (sdist,) = list(DIST.glob("*.whl")), list(DIST.glob("*.tar.gz"))
    if sdist.stat().st_size > MAX_SDIST_BYTES:
        raise ReleaseError(f"{sdist.name} has {sdist.stat().st_size} bytes, over {MAX_SDIST_BYTES}")
    return wheel, sdist


def environment(extra: str, wheel: Path, reuse: dict[str, str]) -> Path:
    """The interpreter of an environment that has the wheel, that extra and nothing else."""
    folder = WORK / ("env-" + (extra.replace(",", "-") or "base"))
    if extra in reuse:
        # The interpreter's packages by a path, after which ours from the wheel come first.
        run(BIN / "uv", "venv", "--quiet", "--clear", "--python", reuse[extra], folder)
        found = run(reuse[extra], "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip()
        run(BIN / "uv", "pip", "install", "--quiet", "--no-deps", "--python", folder, wheel)
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "reused.pth").write_text(found + "\n")
    else:
        run(BIN / "uv", "venv", "--quiet", "--clear", folder)
        wanted = f"selsa[{extra}] @ {wheel.as_uri()}" if extra else f"selsa @ {wheel.as_uri()}"
        run(BIN / "uv", "pip", "install", "--quiet", "--python", folder, wanted)
    return folder / "bin" / "python"


def check_imports(extra: str, python: Path, number: str) -> None:
    """Every module that the extra promises is imported, from the wheel; the command says its version."""
    checked = json.loads(run(python, "-I", Path(__file__).parent / "imported.py", *PROMISED[extra]))
    missing = {name for name, owner in OF_EXTRA.items() if owner not in extra.split(",")}
    failed = {name: why for name, why in checked["failed"].items() if name not in missing}
    if failed:
        raise ReleaseError(f"with [{extra}] alone cannot be imported: {json.dumps(failed, indent=1)}")
    said = run(python.parent / "selsa", "--version").strip()
    if said != f"selsa {number}":
        raise ReleaseError(f"with [{extra}] `selsa --version` says {said!r}, not {number}")
    print(f"[{extra}]: {checked['imported']} modules imported from the wheel")


def bill(extra: str, python: Path, number: str) -> None:
    """A CycloneDX bill of materials of an environment, and its licences as text."""
    name = f"selsa-{number}-{extra.replace(',', '-') or 'base'}"
    target = DIST / f"{name}.cdx.json"
    run(BIN / "cyclonedx-py", "environment", "--output-reproducible", "--output-file", target, python)
    document = json.loads(target.read_text())
    parts = document["components"]
    for part in parts:
        # Where the wheel lay on this machine is nobody's business.
        links = [link for link in part.get("externalReferences", []) if not link["url"].startswith("file:")]
        part["externalReferences"] = links
    target.write_text(json.dumps(document, indent=2) + "\n")
    lines = sorted(f"{part['name']}\t{part['version']}\t{licences(part)}" for part in parts)
    (DIST / f"{name}.licences.txt").write_text("\n".join(lines) + "\n")
    unknown = [line.split("\t")[0] for line in lines if line.endswith("\tunknown")]
    print(f"{target.name}: {len(parts)} packages; without a stated licence: {', '.join(unknown) or 'none'}")


def licences(part: dict[str, list[dict[str, dict[str, str]]]]) -> str:
    """By their SPDX names; by those of the classifiers where a package has no others."""
    entries = part.get("licenses", [])
    stated = [str(entry.get("expression") or entry.get("license", {}).get("id") or "") for entry in entries]
    named = [entry.get("license", {}).get("name", "") for entry in entries]
    found = list(filter(None, stated)) or list(filter(None, named))
    return " AND ".join(dict.fromkeys(found)) or "unknown"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--final", action="store_true", help="the change log must have this version")
    parser.add_argument("--only", nargs="*", default=None, help="extras to check; all if not given")
    parser.add_argument("--reuse", action="append", default=[], metavar="EXTRA=PYTHON")
    asked = parser.parse_args(arguments)
    WORK.mkdir(parents=True, exist_ok=True)
    # The machine's own package folders have no say in what an empty environment is.
    os.environ.pop("PYTHONPATH", None)
    reuse = dict(each.split("=", 1) for each in asked.reuse)
    number = version()
    try:
        check_changelog((ROOT / "CHANGELOG.md").read_text(), number, final=asked.final)
        wheel, sdist = build()
        check_wheel(wheel, number)
        print(*(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB" for file in (wheel, sdist)), sep="\n")
        for extra in PROMISED if asked.only is None else asked.only:
            python = environment(extra, wheel, reuse)
            check_imports(extra, python, number)
            if extra in BILLED:
                bill(extra, python, number)
    except (ReleaseError, ValueError) as error:
        print(f"not to be released: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
