"""Plain PyTorch on the device, in the structure of the published code: eager and compiled.

    python -m benchmarks.gpu.in_torch CHECKPOINT --provider cuda --json FILE

Seconds per key frame of `published_form.py`; the reference frames' feature maps are computed before.
`compiled` compiles backbone, neck and RPN. Also counts the operations of our frame engine.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.published_form import PARTS, PublishedForm
from selsa_bundle.preprocess import PreparedFrame
from selsa_export.parity.frames import procedural_frames
from selsa_server.run_context import Stopwatch
from selsa_training.checkpoint.checkpoint import load_checkpoint
from selsa_training.checkpoint.detector import detector_of
from selsa_training.model.detector import SelsaDetector

KEY_FRAMES = {"cuda": 20, "cpu": 2}
# Name, TensorFloat-32, compiled, and half precision where torch thinks it is safe.
WAYS = (
    ("eager fp32", False, False, False),
    ("eager tf32", True, False, False),
    ("eager autocast fp16", True, False, True),
    ("compiled fp32", False, True, False),
    ("compiled tf32", True, True, False),
    ("compiled autocast fp16", True, True, True),
)


def pictures(detector: SelsaDetector, count: int) -> list[PreparedFrame]:
    return [detector.config.preprocess.prepare(frame) for frame in procedural_frames(count)]


def operations(detector: SelsaDetector, frame: PreparedFrame, device: torch.device) -> int:
    """Floating-point operations of the frame engine on one frame."""
    size = torch.tensor([frame.image_size], device=device)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        images = detector.normalise(torch.from_numpy(frame.pixels).to(device)[None], size)
        detector.frame_stage(images, size)
    return int(counter.get_total_flops())


def seconds_each(work: Callable[[PreparedFrame], object], frames: list[PreparedFrame]) -> list[float]:
    taken = []
    for frame in [frames[0], frames[0], *frames]:
        started = time.perf_counter()
        work(frame)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return taken[2:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--provider", choices=list(KEY_FRAMES), required=True)
    parser.add_argument("--json", type=Path, required=True)
    given = parser.parse_args()
    device = torch.device(given.provider)
    checkpoint = load_checkpoint(given.checkpoint)
    plain = detector_of(checkpoint)
    assert isinstance(plain, SelsaDetector)
    detector = plain.to(device)
    references = pictures(detector, checkpoint.config.reference_frames)
    keys = pictures(detector, KEY_FRAMES[given.provider])
    found: dict[str, Any] = {"model": checkpoint.config.name, "seconds": {}}
    found["operations"] = operations(detector, keys[0], device)
    modules = {name: getattr(detector, name) for name in ("backbone", "neck", "rpn")}
    for name, tf32, compiled, half in WAYS:
        if device.type == "cpu" and (tf32 or half):
            continue
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        for part, module in modules.items():
            setattr(detector, part, torch.compile(module) if compiled else module)
        form = PublishedForm(detector, Stopwatch(PARTS))
        try:
            with torch.autocast(device.type, torch.float16) if half else nullcontext():
                form.remember(references)
                taken = seconds_each(form.detect, keys)
            found["seconds"][name] = {"median": statistics.median(taken), "each": taken}
        except Exception as error:  # noqa: BLE001  reported, and the next way is measured
            found["seconds"][name] = {"error": " ".join(str(error).split())[:300]}
        given.json.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
