"""The network equals the graph that its weights were published in.

Needs the weights (`selsa fetch-everyday FOLDER`; SELSA_EVERYDAY=FOLDER) and Node with @tensorflow/tfjs
(NODE_PATH); skips aloud without them.
"""

import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from selsa_bundle.default_bundle import sample_video
from selsa_training.everyday.config import EVERYDAY
from selsa_training.everyday.detector import EverydayDetector
from selsa_training.everyday.tfjs import read_nanodet
from selsa_training.everyday_training.clips import read_clip

SIDE = 416


@pytest.mark.parametrize("index", [0, 22])
def test_the_network_equals_the_original_graph_on_real_frames(index: int, tmp_path: Path) -> None:
    sources, modules = os.environ.get("SELSA_EVERYDAY"), os.environ.get("NODE_PATH")
    if not (sources and modules and shutil.which("node")):
        pytest.skip("needs SELSA_EVERYDAY, and Node with @tensorflow/tfjs in NODE_PATH")
    models = Path(sources) / "models"
    frame = cv2.resize(read_clip(sample_video())[index], (SIDE, SIDE))
    detector = EverydayDetector(EVERYDAY)
    images = detector.normalise(torch.from_numpy(frame)[None], torch.tensor([[SIDE, SIDE]]))
    images.numpy().tofile(tmp_path / "input")
    script = Path(__file__).with_name("original_graph.mjs")
    subprocess.run(["node", script, models, tmp_path / "input", tmp_path / "output"], check=True)
    want = np.fromfile(tmp_path / "output", np.float32)

    with torch.inference_mode():
        levels = read_nanodet(models / "nanodet.json", models / "nanodet.bin")(images)
    rows = [level.logits.sigmoid() for level in levels] + [level.sides for level in levels]
    found = np.concatenate([x[0].flatten(1).T.numpy().ravel() for x in rows])
    assert found.shape == want.shape
    assert np.abs(found - want).max() < 1e-4
