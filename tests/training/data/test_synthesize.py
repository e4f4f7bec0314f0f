"""The synthetic data set: a seed fixes every byte, and the reader reads the written data without loss."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from selsa_bundle.classes import IMAGENET_VID
from selsa_bundle.files.new_folder import TargetTakenError
from selsa_training.cli import data as cli_data
from selsa_training.data.check import check_images
from selsa_training.data.errors import DataError
from selsa_training.data.formats.open_data import DataSource, open_data
from selsa_training.data.issues import IssueLog
from selsa_training.data.motion import motion_iou
from selsa_training.data.records import DEGRADED, DataSet
from selsa_training.data.synthetic.clip import render_clip
from selsa_training.data.synthetic.degradation import draw_bursts
from selsa_training.data.synthetic.drawn import draw_shapes
from selsa_training.data.synthetic.emoji import EMOJI, find_emoji_font, load_emoji
from selsa_training.data.synthetic.settings import DegradationRanges, SyntheticSettings
from selsa_training.data.synthetic.sprites import SpriteSet, as_sprite
from selsa_training.data.synthetic.write import write_synthetic

SMALL = SyntheticSettings(train_clips=10, val_clips=2, length=12, height=64, width=96)
SHAPES = draw_shapes(IMAGENET_VID)


def checksums(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "set"
    write_synthetic(folder, SMALL, SHAPES)
    return folder


def read(folder: Path, split: str) -> DataSet:
    log = IssueLog()
    data = open_data(DataSource(path=folder), split, log)  # type: ignore[arg-type]
    check_images(data, log, decode=True)
    assert not log.counts
    return data


def test_a_seed_fixes_every_byte_for_any_number_of_workers(written: Path, tmp_path: Path) -> None:
    assert write_synthetic(tmp_path / "again", SMALL, SHAPES, workers=2).frames == 144
    assert checksums(tmp_path / "again") == checksums(written)


def test_another_seed_and_the_other_split_are_other_clips(written: Path) -> None:
    def frame(seed: int, split: str) -> bytes:
        settings = SyntheticSettings(seed=seed, length=1, height=64, width=96)
        return next(iter(render_clip(settings, SHAPES, split, 0))).pixels.tobytes()

    assert len({frame(0, "train"), frame(1, "train"), frame(0, "val"), frame(1, "val")}) == 4


def test_a_written_data_set_is_read_without_an_issue(written: Path) -> None:
    train, val = read(written, "train"), read(written, "val")
    assert train.classes == val.classes == IMAGENET_VID
    assert (train.video_count, train.frame_count) == (10, 120)
    assert (val.video_count, val.frame_count) == (2, 24)
    assert len(np.unique(train.labels)) > 12
    assert (train.boxes >= 0).all()
    assert (train.boxes <= (96, 64, 96, 64)).all()


def test_motion_is_annotated_as_it_is_computed(written: Path) -> None:
    data = read(written, "train")
    np.testing.assert_allclose(data.motion, motion_iou(data), atol=1e-4)


def test_all_speeds_occur() -> None:
    settings = SyntheticSettings()
    speeds = []
    for number in range(12):
        clip = render_clip(settings, SHAPES, "train", number)
        steps = [
            np.hypot(*np.diff(np.stack([actor.path.x, actor.path.y]), axis=1)).max() for actor in clip.actors
        ]
        speeds += steps
    assert min(speeds) < 0.26
    assert max(speeds) > 2
    assert any(0.34 < speed < 1.01 for speed in speeds)


def test_marked_frames_are_the_degraded_ones() -> None:
    """Rendering with and without effects differs exactly in the objects of the marked frames."""
    harmless = DegradationRanges(
        effects=(3, 3), blur=(0, 0), motion_blur=(0, 0), occlusion=(0, 0), fade=(0, 0), tint=(0, 0)
    )
    strong = DegradationRanges(effects=(3, 3), fade=(0.3, 0.3))
    size = {"length": 16, "height": 64, "width": 96}
    clear = render_clip(SyntheticSettings(**size, degradation=harmless), SHAPES, "val", 3)
    hard = render_clip(SyntheticSettings(**size, degradation=strong), SHAPES, "val", 3)
    marks = []
    for before, after in zip(clear, hard, strict=True):
        differs = not np.array_equal(before.pixels, after.pixels)
        marks.append((after.degraded, differs))
        assert [o.box for o in before.objects] == [o.box for o in after.objects]
        assert all((o.flags & DEGRADED > 0) == after.degraded for o in after.objects)
    assert (False, True) not in marks
    assert marks.count((True, True)) == 9


@pytest.mark.parametrize("length", [1, 2, 5, 32, 100])
def test_bursts_cover_their_share_and_leave_clear_frames_between(length: int) -> None:
    ranges = DegradationRanges()
    for seed in range(30):
        bursts = draw_bursts(length, ranges, np.random.default_rng(seed))
        covered = [frame for first, past in bursts for frame in range(first, past)]
        assert len(covered) == len(set(covered)) == round(length * ranges.share)
        assert all(0 <= frame < length for frame in covered)
        if length >= 32:
            assert all(2 <= past - first <= 8 for first, past in bursts)
            assert all(a[1] < b[0] for a, b in pairwise(bursts))


def test_every_class_is_as_frequent_as_any_other() -> None:
    settings = SyntheticSettings(objects=(3, 3), length=1, height=32, width=32)
    labels = [a.label for n in range(20) for a in render_clip(settings, SHAPES, "train", n).actors]
    assert np.bincount(labels).tolist() == [2] * 30


def test_the_boxes_are_where_the_sprites_are() -> None:
    none = DegradationRanges(share=0)
    settings = SyntheticSettings(length=2, height=96, width=128, objects=(1, 1), degradation=none)
    for number in range(8):
        clip = render_clip(settings, SHAPES, "train", number)
        frames = list(clip)
        empty = clip.texture[clip.offsets[0][0] :, clip.offsets[0][1] :][:96, :128] * clip.gain
        changed = np.abs(frames[0].pixels.astype(np.float32) - empty).max(axis=2) > 60
        x1, y1, x2, y2 = (int(v) for v in frames[0].objects[0].box)
        inside = changed[max(0, y1 - 1) : y2 + 1, max(0, x1 - 1) : x2 + 1].sum()
        assert inside > 0.9 * changed.sum() > 0


def test_the_drawn_shapes_are_thirty_different_ones() -> None:
    images = [sprites[0].levels[-1] for sprites in SHAPES.by_class.values()]
    assert len({image.tobytes() for image in images}) == 30
    assert len(SHAPES.by_class) == 30


def test_an_existing_folder_is_replaced_only_if_it_is_a_synthetic_set(written: Path, tmp_path: Path) -> None:
    tiny = SyntheticSettings(train_clips=1, val_clips=0, length=1, height=32, width=32)
    with pytest.raises(TargetTakenError):
        write_synthetic(written, tiny, SHAPES)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(TargetTakenError):
        write_synthetic(tmp_path / "mine", tiny, SHAPES, overwrite=True)
    write_synthetic(tmp_path / "set", tiny, SHAPES)
    write_synthetic(tmp_path / "set", SyntheticSettings(train_clips=0, val_clips=1), SHAPES, overwrite=True)
    assert json.loads((tmp_path / "set/synthesis.json").read_text())["settings"]["val_clips"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "set"]


def test_a_failed_attempt_leaves_no_files(tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(tmp_path / "set", SMALL, SHAPES, progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_a_transparent_sprite_is_refused() -> None:
    with pytest.raises(DataError, match="fox is completely transparent"):
        as_sprite(np.zeros((9, 9, 4), np.uint8), "fox")


def test_every_class_has_its_emoji() -> None:
    assert tuple(EMOJI) == IMAGENET_VID
    assert len(set(EMOJI.values())) == 30


def test_sprites_come_from_a_colour_emoji_font() -> None:
    font = find_emoji_font()
    if font is None:
        pytest.skip("no colour-emoji font (Debian: fonts-noto-color-emoji)")
    sprites: SpriteSet = load_emoji(font)
    images = [members[0].levels[0].tobytes() for members in sprites.by_class.values()]
    assert len(set(images)) == 30


def test_a_file_that_is_not_a_font_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "font.ttf"
    path.write_bytes(b"no font")
    with pytest.raises(DataError, match="cannot be used"):
        load_emoji(path)


@pytest.mark.parametrize("options", [{"length": 0}, {"height": 8}, {"seed": -1}, {"jpeg_quality": 0}])
def test_settings_out_of_range_are_refused(options: dict[str, int]) -> None:
    name, value = next(iter(options.items()))
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        SyntheticSettings(**options)  # type: ignore[arg-type]


def test_the_command_writes_a_set_that_passes_the_check(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command("synthesize")(cli_data.synthesize)
    app.command("check-data")(cli_data.check_data)
    folder = tmp_path / "set"
    sizes = ["--train", "2", "--val", "1", "--length", "3", "--height", "48", "--width", "64"]
    made = CliRunner().invoke(app, ["synthesize", str(folder), "--shapes", "--png", *sizes, "--workers", "1"])
    assert made.exit_code == 0
    assert made.stdout == f"{folder}\n"
    assert "3 clips, 9 frames" in made.stderr
    assert "frames a second" in made.stderr
    assert CliRunner().invoke(app, ["check-data", str(folder), "--images"]).exit_code == 0
    again = CliRunner().invoke(app, ["synthesize", str(folder), "--shapes", *sizes])
    assert again.exit_code == 3
    assert "already exists" in again.stderr
    wrong = CliRunner().invoke(app, ["synthesize", str(tmp_path / "x"), "--height", "1"])
    assert wrong.exit_code == 3
    assert "error: height is 1" in wrong.stderr
