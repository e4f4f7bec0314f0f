"""`selsa bench` of this installation and of another one, in turn, and the ratios of what they take.

    python -m benchmarks.speed.against PYTHON [--bundle FOLDER] [--against-bundle FOLDER] [--rounds 5]
        [ARGUMENTS OF selsa bench]

PYTHON is that of the other installation, whose `selsa bench` must know the arguments too. Every measurement
is a process of its own; within a round both installations have a turn. Above 1: this one is faster.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.speed.start import without_settings
from selsa_bundle.default_bundle import bundle_folder
from selsa_server.bench.machine import Machine
from selsa_server.bench.report import Spread


def milliseconds(python: Path, bundle: Path, arguments: list[str]) -> dict[str, float]:
    """Milliseconds a frame by part of a bench, for its first way to run the bundle."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "bench.json"
        command = [python.with_name("selsa"), "bench", "--bundle", bundle, "--json", report, "--rounds", "1"]
        ran = subprocess.run([*command, *arguments], env=without_settings(), capture_output=True, check=False)
        if ran.returncode:
            raise SystemExit(f"error: {python}: selsa bench: {ran.stderr.decode().strip()[-400:]}")
        parts = json.loads(report.read_bytes())["ways"][0]["seconds"]
    return {part: 1e3 * spread["median"] for part, spread in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("against", type=Path, metavar="PYTHON")
    parser.add_argument("--bundle", type=Path, default=Path("synthetic"))
    parser.add_argument("--against-bundle", type=Path, help="same as --bundle if left out")
    parser.add_argument("--rounds", type=int, default=5)
    given, arguments = parser.parse_known_args()
    bundle = bundle_folder(given.bundle)
    print(Machine.here(), flush=True)
    rounds = []
    for _ in range(given.rounds):
        theirs = milliseconds(given.against, given.against_bundle or bundle, arguments)
        rounds.append((milliseconds(Path(sys.executable), bundle, arguments), theirs))
    for part in rounds[0][0]:
        ours, others = ([each[side][part] for each in rounds] for side in (0, 1))
        ratio = Spread.of([other / our for our, other in zip(ours, others, strict=True)])
        print(
            f"{part:24} {Spread.of(ours).text()} ms; other {Spread.of(others).text()} ms; as fast",
            ratio.text(),
        )


if __name__ == "__main__":
    main()
