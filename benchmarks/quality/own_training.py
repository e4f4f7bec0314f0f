"""AP50 of fine-tuning beside training from scratch, with the same steps on the same videos of `own_objects`.

    python -m benchmarks.quality.own_training OUT [--clips 40] [--steps 400] [--seeds 0 1 2] [--augmentation]

Both use the recipe `tiny`, batch 4. Scratch also pretrains its backbone on crops, so it takes longer. A run
that OUT has already is not repeated; one that was stopped continues.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Final

RATE: Final = ("--set", "optimiser.rate=5e-4")
VARIANTS: Final = {
    "fine-tuned": ("--from", "synthetic", *RATE),
    "without augmentation": (
        *("--from", "synthetic", *RATE),
        *("--set", "augmentation.scale=0", "--set", "augmentation.colour=0"),
    ),
    "from scratch": ("--set", "pretraining.steps=60"),
}


def command(*arguments: str) -> None:
    """Run a command of the installed package; its messages appear as they come."""
    subprocess.run([str(Path(sys.executable).parent / "selsa"), *arguments], check=True, stdout=sys.stderr)


def score(folder: Path, data: Path, steps: int, seed: int, variant: tuple[str, ...]) -> tuple[float, float]:
    """AP50 on the held-out videos, 0 to 100, and the seconds of the training."""
    report, note = folder / "scores.json", folder / "seconds.txt"
    if not report.exists():
        shared = {"steps": steps, "warm_up": 20}
        settings = [f"schedule.{key}={value}" for key, value in shared.items()] + ["optimiser.average=0.99"]
        options = [part for value in settings for part in ("--set", value)]
        began = time.monotonic()
        command(
            *("train", "tiny", "--data", str(data), "-o", str(folder), "--seed", str(seed)),
            *(*options, *variant, "--pictures-every", "0", "--save-every", "50"),
            *(("--resume",) if (folder / "state.pt").exists() else ()),
        )
        note.write_text(f"{time.monotonic() - began:.0f}\n")
        command("evaluate", str(folder), "--data", str(data), "--mode", "sequence", "--json", str(report))
    scores = json.loads(report.read_text())
    return float(scores["modes"]["sequence"]["vid"]["ap50"]["all"]), float(note.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--augmentation", action="store_true", help="also fine-tune without augmentation")
    options = parser.parse_args()
    clips, data = options.output / "clips", options.output / "data"
    if not data.exists():
        make = [
            sys.executable,
            "-m",
            "benchmarks.quality.own_objects",
            str(clips),
            "--clips",
            str(options.clips),
        ]
        subprocess.run(make, check=True)
        command("import-data", str(clips), str(data), "--val-share", "0.2")
    variants = {k: v for k, v in VARIANTS.items() if options.augmentation or k != "without augmentation"}
    found: dict[str, list[float]] = {name: [] for name in variants}
    for seed in options.seeds:
        for name, variant in variants.items():
            folder = options.output / f"{name.replace(' ', '-')}-{seed}"
            ap50, seconds = score(folder, data, options.steps, seed, variant)
            found[name].append(ap50)
            print(f"{name}, seed {seed}: AP50 {ap50:.1f}, {seconds:.0f} s", flush=True)
    for name, values in found.items():
        print(f"{name}: AP50 {fmean(values):.1f}, {min(values):.1f} to {max(values):.1f}")


if __name__ == "__main__":
    main()
