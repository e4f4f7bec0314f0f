"""Playback of all kinds of videos: in time with the frames, rotated, mirrored, damaged, unplayable."""

from pathlib import Path
from typing import Any

import pytest
from browser import opened
from media import damage_packet, write_video
from overlay_pixels import drawn_pixels, edges_are_drawn, frame_shown, seek, wait_for_frame
from playwright.sync_api import Browser, Page, expect

WHOLE = {"x1": 0.0, "y1": 0.0}


def choose(page: Page, path: Path) -> None:
    # The one detection of these engines is the whole frame, with a low score.
    page.locator("#score").evaluate(
        "slider => { slider.value = 0.05; slider.dispatchEvent(new Event('input')); }"
    )
    page.locator("#file").set_input_files(path)


def finish(page: Page, frames: int) -> None:
    expect(page.locator("#progress-text")).to_contain_text(f"{frames} frames in")


# Plays, and remembers the boxes at each of twenty frames. The element may show a later frame by then, as the
# compositor does not wait for scripts. So the numbers in the frames are read later, from the paused video:
# `media.number_of` in the browser, since pixels are too many to transfer.
PLAY = """
async () => {
  const [video, boxes] = [document.getElementById("video"), document.getElementById("boxes")];
  const probe = document.createElement("canvas");
  [probe.width, probe.height] = [video.videoWidth, video.videoHeight];
  const context = probe.getContext("2d", { willReadFrequently: true });
  const [block, top, down] = [probe.width / 4, probe.height / 8, probe.height / 4];
  const digit = at => {
    const { data } = context.getImageData(at * block + 3, top, block - 6, down);
    const sum = data.reduce((sum, value, i) => (i % 4 === 3 ? sum : sum + value), 0);
    return Math.round((sum / (0.75 * data.length) - 40) / 60);
  };
  const nextFrame = () =>
    new Promise(resolve => video.requestVideoFrameCallback((_, { mediaTime }) => resolve(mediaTime)));
  const showFrameAt = async time => {
    video.currentTime = time + 0.001;
    while (Math.abs((await nextFrame()) - time) > 0.002);
  };
  const played = [];
  await new Promise(resolve => {
    const look = (_, { mediaTime }) => {
      played.push([mediaTime, Number(boxes.dataset.frame)]);
      if (played.length < 20) video.requestVideoFrameCallback(look);
      else resolve();
    };
    video.addEventListener("ended", resolve, { once: true }); // a busy browser leaves frames out
    video.addEventListener("seeked", () => {
      video.requestVideoFrameCallback(look);
      video.playbackRate = 0.5;
      video.play();
    }, { once: true });
    video.pause();
    video.currentTime = 0;
  });
  video.pause();
  const found = [];
  for (const [time, frame] of played) {
    await showFrameAt(time);
    context.drawImage(video, 0, 0);
    found.push([frame, [0, 1, 2, 3].reduce((sum, at) => sum + digit(at) * 4 ** at, 0)]);
  }
  return found;
}
"""


@pytest.mark.parametrize(
    "made",
    [
        {"codec": "libx264", "options": {"bf": "0"}},
        {"codec": "libx264", "options": {"bf": "2"}},
        {"codec": "libx264", "pts": [500 + n * n * 3 + 30 * n for n in range(40)]},
    ],
    ids=["constant", "reordered", "variable and late"],
)
def test_while_it_plays_the_boxes_are_those_of_the_frame_that_the_browser_names(
    page: Page, tmp_path: Path, made: dict[str, Any]
) -> None:
    choose(page, write_video(tmp_path / "numbered.mp4", 40, size=(128, 96), **made))
    finish(page, 40)
    found = page.evaluate(PLAY)
    assert [boxes for boxes, _ in found] == [number for _, number in found]
    assert len({number for _, number in found}) > 3


WITHOUT_FRAME_CALLBACKS = "delete HTMLVideoElement.prototype.requestVideoFrameCallback"


def test_without_frame_callbacks_the_boxes_follow_the_clock(
    browser: Browser, server: str, tmp_path: Path
) -> None:
    with opened(browser, server, WITHOUT_FRAME_CALLBACKS) as page:
        choose(page, write_video(tmp_path / "video.mp4", 40))
        finish(page, 40)
        seek(page, 10.5 / 25, 10)
        page.locator("#play").click()
        wait_for_frame(page, 39)


def test_with_a_stride_frames_keep_the_boxes_of_the_last_detected_frame(page: Page, tmp_path: Path) -> None:
    page.locator("summary").click()
    page.get_by_label("Detect on every n-th frame").fill("5")
    choose(page, write_video(tmp_path / "video.mp4", 23))
    finish(page, 5)
    for frame, boxes in ((0, 0), (4, 0), (5, 5), (9, 5), (22, 20)):
        seek(page, (frame + 0.5) / 25, boxes)
    page.locator("#back").click()
    wait_for_frame(page, 15)


def test_a_file_that_is_no_video_is_reported(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no video\n" * 100)
    choose(page, path)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The file is not a video")
    expect(page.get_by_role("button", name="Add videos")).to_be_visible()
    expect(page.locator("#work")).to_be_hidden()
    page.get_by_role("button", name="Close this message").click()
    expect(alert.first).to_be_hidden()


def test_damage_is_reported_with_a_button_that_skips_it(page: Page, tmp_path: Path) -> None:
    path = write_video(tmp_path / "damaged.mkv", 20, options={"g": "1"})
    damage_packet(path, 8)
    choose(page, path)
    expect(page.get_by_role("alert")).to_contain_text("cannot be decoded")
    page.get_by_role("button", name="Skip damaged frames").click()
    expect(page.locator("#progress-text")).to_contain_text("1 damaged frame skipped")


def test_a_video_that_the_browser_cannot_play_has_its_boxes_on_a_blank(page: Page, tmp_path: Path) -> None:
    choose(page, write_video(tmp_path / "old.mp4", 30, codec="mpeg4", size=(128, 64)))
    finish(page, 30)
    expect(page.locator("#blank")).to_contain_text("cannot play mpeg4")
    wait_for_frame(page, 29)
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    page.locator("#scrub").fill("0")
    wait_for_frame(page, 0)
    drawn = drawn_pixels(page, (128, 64))
    assert drawn.shape[1] / drawn.shape[0] == pytest.approx(2, rel=0.02)
    assert edges_are_drawn(drawn, {**WHOLE, "x2": 128, "y2": 64}, (128, 64)) > 0.95
    page.locator("#forward").click()
    assert frame_shown(page) == 1
    page.locator("#play").click()
    wait_for_frame(page, 29)
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_video_is_upright_and_its_boxes_fit(page: Page, tmp_path: Path, rotation: int) -> None:
    choose(page, write_video(tmp_path / "turned.mp4", 10, size=(128, 64), rotation=rotation))
    finish(page, 10)
    size = (128, 64) if rotation == 180 else (64, 128)
    assert page.evaluate("[video.videoWidth, video.videoHeight]") == list(size)
    drawn = drawn_pixels(page, size)
    assert edges_are_drawn(drawn, {**WHOLE, "x2": size[0], "y2": size[1]}, size) > 0.95


def test_boxes_stay_on_the_picture_when_there_are_bars_beside_it(page: Page, tmp_path: Path) -> None:
    choose(page, write_video(tmp_path / "tall.mp4", 5, size=(64, 128)))
    finish(page, 5)
    page.locator("#screen").evaluate(
        "screen => { screen.style.aspectRatio = 3; screen.style.width = '100%'; }"
    )
    page.wait_for_function("() => boxes.width > 2 * boxes.height")
    page.wait_for_timeout(100)
    drawn = drawn_pixels(page, (64, 128))
    assert edges_are_drawn(drawn, {**WHOLE, "x2": 64, "y2": 128}, (64, 128)) > 0.95
