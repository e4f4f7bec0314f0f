"""The film script writes a held-out clip as a video, and its objects as JSON."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks.quality import synthesize_film
from selsa_bundle.classes import IMAGENET_VID
from selsa_training.data.synthetic.clip import render_clip
from selsa_training.data.synthetic.drawn import draw_shapes
from selsa_training.data.synthetic.settings import SyntheticSettings

SETTINGS = SyntheticSettings(length=20, height=64, width=96, objects=(3, 3))
SMALL = ("--shapes", "--length", "20", "--height", "64", "--width", "96", "--number", "1")


def test_a_film_shows_the_clip_frame_by_frame_at_the_given_rate(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    synthesize_film.main([str(path), *SMALL, "--rate", "10", "--crf", "10"])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.average_rate, stream.frames) == (10, 20)
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    drawn = list(render_clip(SETTINGS, draw_shapes(IMAGENET_VID), "val", 1))
    for seen, frame in zip(shown, drawn, strict=True):
        # Halved colour resolution and quantisation; another frame differs by more.
        assert np.abs(seen.astype(int) - frame.pixels).mean() < 12
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_the_truth_has_the_objects_of_every_frame(tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    synthesize_film.main([str(tmp_path / "film.mp4"), *SMALL, "--truth", str(truth)])
    content = json.loads(truth.read_text())
    assert content["classes"] == list(IMAGENET_VID)
    drawn = render_clip(SETTINGS, draw_shapes(IMAGENET_VID), "val", 1)
    for row, frame in zip(content["frames"], drawn, strict=True):
        assert row["degraded"] == frame.degraded
        assert [list(item["box"].values()) for item in row["objects"]] == [
            pytest.approx(item.box) for item in frame.objects
        ]


@pytest.mark.parametrize("wrong", [("--width", "97"), ("--number", "-1"), ("--length", "0")])
def test_a_value_that_is_not_allowed_leaves_no_file(tmp_path: Path, wrong: tuple[str, str]) -> None:
    with pytest.raises(SystemExit):
        synthesize_film.main([str(tmp_path / "film.mp4"), *SMALL, *wrong])
    assert not list(tmp_path.iterdir())


def test_an_older_film_is_replaced_only_if_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"mine")
    with pytest.raises(SystemExit):
        synthesize_film.main([str(path), *SMALL])
    assert path.read_bytes() == b"mine"
    synthesize_film.main([str(path), *SMALL, "--overwrite"])
    assert path.read_bytes() != b"mine"
