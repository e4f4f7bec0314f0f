"""Run the findings and print a table: `python findings/run.py [NAME ...]`.

Scripts that need the same packages share an environment; `FINDINGS_VENV` names one for all scripts. A script
ends with 0 if the behaviour is as its header says, 77 if it cannot be seen here, else it has changed.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
RESULTS = {0: "ok", 77: "skipped"}
LIMIT_S = 1800
PACKAGES = re.compile(r"--disable-pip-version-check(.*?)\n\"\$env", re.DOTALL)


def main(names: list[str]) -> int:
    """Run the named findings, or all; 1 if one of them has changed or there is none of that name."""
    scripts = [FOLDER / f"{name.removesuffix('.sh')}.sh" for name in names] or sorted(FOLDER.glob("*.sh"))
    changed = []
    print(f"{'finding':46} {'ground':11} {'result':8} seconds")
    with tempfile.TemporaryDirectory() as folder:
        for script in scripts:
            if not script.is_file():
                print(f"{script.stem}: there is no such finding; they are listed in findings/README.md")
                return 1
            text = script.read_text()
            ground = text.partition("# Ground: ")[2].partition("\n")[0]
            start = time.monotonic()
            code, output = _run(script, Path(folder), text)
            result = RESULTS.get(code, "changed")
            print(f"{script.stem:46} {ground:11} {result:8} {time.monotonic() - start:.0f}", flush=True)
            if result == "skipped":
                print(f"    {output.strip().splitlines()[-1]}")
            if result == "changed":
                changed.append(script.stem)
                print("    " + "\n    ".join(output.strip().splitlines()[-12:]))
    print(f"{len(scripts) - len(changed)} of {len(scripts)} as written")
    return 1 if changed else 0


def _run(script: Path, environments: Path, text: str) -> tuple[int, str]:
    packages = "".join(PACKAGES.findall(text)).replace("\\", "").split()
    shared = environments / hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:16]
    variables = {"FINDINGS_VENV": str(shared)} | os.environ
    with tempfile.TemporaryFile("w+") as output:
        try:
            done = subprocess.run(
                ["sh", str(script)], stdout=output, stderr=subprocess.STDOUT, timeout=LIMIT_S, env=variables
            )
            code = done.returncode
        except subprocess.TimeoutExpired:
            code = 1
            output.write(f"\nnot done after {LIMIT_S} s\n")
        output.seek(0)
        return code, output.read()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
