"""Peak resident memory of detection against the length of the video.

    python tests/system/memory_of_length.py [--bundle BUNDLE] [--lengths 200 2000] [--size 96x72]

For each length a new process runs `selsa detect --local`, and a new `selsa serve` takes the same file in one
POST; both peaks are printed. Without a bundle, an untrained one of small frames is made.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from selsa_bundle.preprocess import Preprocess
from selsa_server.sample_video import write_sample_video

SELSA = Path(sys.executable).parent / "selsa"


def make_bundle(folder: Path) -> Path:
    """A bundle that runs in milliseconds: the small variant on small frames with few proposals."""
    from selsa_export.bundle import export_bundle
    from selsa_export.parity_frames import procedural_frames
    from selsa_training.checkpoint import load_checkpoint, save_checkpoint
    from selsa_training.config import CONFIGS, HeadConfig, ProposalConfig
    from selsa_training.untrained import untrained_tensors

    quick = {
        "name": "r18-quick",
        "preprocess": Preprocess(long_side=160, short_side=96),
        "proposals": ProposalConfig(candidates=500, proposals=32),
        "head": HeadConfig(width=64, heads=1),
        "neck_channels": 32,
    }
    config = CONFIGS["r18-dc5"].model_copy(update=quick)
    save_checkpoint(folder / "checkpoint", config, untrained_tensors(config, 1), "untrained, seed 1")
    export_bundle(
        load_checkpoint(folder / "checkpoint"), folder / "bundle", procedural_frames(2), "procedural clip"
    )
    return folder / "bundle"


def peak_of_local(bundle: Path, video: Path, references: int) -> float:
    """MB: peak of a process that detects on its own."""
    command = [SELSA, "detect", video, "--local", "--bundle", bundle, "--reference-frames", str(references)]
    peak = 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, peak_of(process.pid))
            time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"detection failed with exit code {process.returncode}")
    return peak


def peak_of(pid: int) -> float:
    """MB: the largest resident size of a process so far.

    Not `ru_maxrss`: that begins with the size of the process that started it.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    peak = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peak[0].split()[1]) * 1024 / 1e6 if peak else 0.0


def peak_of_server(bundle: Path, video: Path, references: int) -> float:
    """MB: peak of a server that took the video in one POST."""
    with serving(bundle) as (address, process):
        with video.open("rb") as body, httpx.Client(timeout=None) as http:
            answer = http.post(f"{address}/detect", content=body, params={"reference_frames": references})
        answer.raise_for_status()
        return peak_of(process.pid)


@contextmanager
def serving(bundle: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server of its own."""
    command = [SELSA, "serve", "--bundle", bundle, "--port", "0", "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("Serving "))
            yield line.split()[-1], process
        finally:
            process.terminate()


def measure(
    bundle: Path, lengths: list[int], size: tuple[int, int], references: int
) -> list[tuple[int, float, float]]:
    """(frames, MB of local detection, MB of the server) for each length."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for frames in lengths:
            video = Path(folder) / f"{frames}.mp4"
            write_sample_video(video, frames, width=size[0], height=size[1])
            local, server = (peak(bundle, video, references) for peak in (peak_of_local, peak_of_server))
            rows.append((frames, local, server))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--lengths", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--size", default="96x72")
    parser.add_argument("--references", type=int, default=14)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        bundle = given.bundle or make_bundle(Path(folder))
        rows = measure(bundle, given.lengths, (width, height), given.references)
    print("frames   local MB   server MB")
    for frames, local, server in rows:
        print(f"{frames:6}   {local:8.1f}   {server:9.1f}")


if __name__ == "__main__":
    main()
