"""What the device does at most: matrix products and copies through torch, and which machine it is.

python -m benchmarks.gpu.ceilings --provider cuda --json FILE
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from selsa_server.bench.machine import Machine

SIZE = {"cuda": 8192, "cpu": 1024}
COPIED = {"cuda": 1 << 30, "cpu": 1 << 26}
ROUNDS = 10


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Median of some runs, after some to warm up."""

    def once() -> float:
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    for _ in range(3):
        once()
    return statistics.median(once() for _ in range(ROUNDS))


def product_rate(kind: torch.dtype, device: torch.device) -> float:
    """Floating-point operations per second of a large matrix product of random numbers."""
    size = SIZE[device.type]
    a, b = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    return 2 * size**3 / seconds(lambda: a @ b, device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--provider", choices=list(SIZE), required=True)
    parser.add_argument("--json", type=Path, required=True)
    given = parser.parse_args()
    device = torch.device(given.provider)
    rates = {}
    torch.backends.cuda.matmul.allow_tf32 = False
    rates["fp32"] = product_rate(torch.float32, device)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        rates["tf32"] = product_rate(torch.float32, device)
        rates["fp16"] = product_rate(torch.float16, device)
    source = torch.empty(COPIED[device.type], dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    moved = 2 * source.numel() / seconds(lambda: target.copy_(source), device)
    found = {"machine": asdict(Machine.here()), "operations": rates, "bytes": moved}
    given.json.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
