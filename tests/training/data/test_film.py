"""The film: a held-out clip as a video, and the truth of it."""

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from selsa_bundle.classes import IMAGENET_VID
from selsa_training.cli.film import synthesize_film
from selsa_training.data.errors import DataError
from selsa_training.data.synthetic.clip import render_clip
from selsa_training.data.synthetic.drawn import draw_shapes
from selsa_training.data.synthetic.film import FilmOptions, write_film
from selsa_training.data.synthetic.settings import SyntheticSettings

SHAPES = draw_shapes(IMAGENET_VID)
SMALL = SyntheticSettings(length=20, height=64, width=96, objects=(3, 3))


def test_a_film_shows_the_clip_frame_by_frame_at_the_rate_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    written = write_film(path, SMALL, SHAPES, 1, FilmOptions(rate=10, crf=10))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.average_rate, stream.frames) == (10, 20)
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(shown) == 20
    for seen, drawn in zip(shown, render_clip(SMALL, SHAPES, "val", 1), strict=True):
        # Halved colour resolution and quantisation; another frame differs by more.
        assert np.abs(seen.astype(int) - drawn.pixels).mean() < 12
    assert (written.frames, written.degraded, len(written.classes)) == (20, 11, 3)
    assert written.size == path.stat().st_size


def test_the_index_is_in_front_so_that_a_film_can_be_streamed(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4", SMALL, SHAPES, 1)
    data = (tmp_path / "film.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_the_truth_is_what_the_clip_has_and_is_the_same_every_time(tmp_path: Path) -> None:
    first, again = tmp_path / "a.json", tmp_path / "b.json"
    write_film(tmp_path / "a.mp4", SMALL, SHAPES, 2, FilmOptions(truth=first))
    write_film(tmp_path / "b.mp4", SMALL, SHAPES, 2, FilmOptions(truth=again))
    assert first.read_bytes() == again.read_bytes()
    truth = json.loads(first.read_text())
    assert truth["classes"] == list(IMAGENET_VID)
    for row, frame in zip(truth["frames"], render_clip(SMALL, SHAPES, "val", 2), strict=True):
        assert row["degraded"] == frame.degraded
        assert [list(item["box"].values()) for item in row["objects"]] == [
            pytest.approx(item.box) for item in frame.objects
        ]
        assert [item["class_id"] for item in row["objects"]] == [item.label for item in frame.objects]


def test_another_number_is_another_clip(tmp_path: Path) -> None:
    for number in (1, 2):
        write_film(tmp_path / f"{number}.mp4", SMALL, SHAPES, number)
    assert (tmp_path / "1.mp4").read_bytes() != (tmp_path / "2.mp4").read_bytes()


def test_nothing_is_left_of_a_film_that_was_broken_off(tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        assert not (tmp_path / "film.mp4").exists()
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_film(tmp_path / "film.mp4", SMALL, SHAPES, 1, FilmOptions(truth=tmp_path / "truth.json"), fail)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_a_film_is_refused_before_it_is_rendered(tmp_path: Path) -> None:
    taken = tmp_path / "taken.mp4"
    taken.write_bytes(b"mine")
    refused = [
        (taken, SMALL, 0, "already exists"),
        (tmp_path / "film.avi", SMALL, 0, "must end in .mp4"),
        (tmp_path / "film.mp4", replace(SMALL, width=97), 0, "97x64"),
        (tmp_path / "film.mp4", SMALL, -1, "number is -1"),
        (tmp_path / "no" / "film.mp4", SMALL, 0, "folder does not exist"),
    ]
    for path, settings, number, words in refused:
        with pytest.raises(DataError, match=words):
            write_film(path, settings, SHAPES, number)
    assert taken.read_bytes() == b"mine"
    write_film(taken, SMALL, SHAPES, 0, FilmOptions(overwrite=True))
    assert taken.read_bytes() != b"mine"


def test_the_command_writes_the_film_and_says_what_is_in_it(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command("synthesize-film")(synthesize_film)
    path = tmp_path / "film.mp4"
    small = [str(path), "--shapes", "--length", "5"]
    made = CliRunner().invoke(app, [*small, "--size", "96x64", "--truth", str(tmp_path / "truth.json")])
    assert made.exit_code == 0, made.output
    assert made.stdout == f"{path}\n"
    assert made.stderr.startswith("5 frames, ")
    assert (tmp_path / "truth.json").is_file()
    for options, words in (
        ([], "already exists"),
        (["--size", "big"], "'big'"),
        (["--rate", "0"], "rate is 0"),
    ):
        wrong = CliRunner().invoke(app, [*small, *options])
        assert wrong.exit_code == 3
        assert words in wrong.stderr
