"""From a file to results: playback, the queue, settings, a busy server, full screen."""

import re
from pathlib import Path

from browser import opened
from made_records import answer_with, detection
from media import write_video
from overlay_pixels import pause, wait_for_frame
from playwright.sync_api import Browser, Page, Route, expect
from served_page import fake_server


def choose(page: Page, *paths: Path) -> None:
    page.locator("#file").set_input_files(paths)


def finish(page: Page, frames: int) -> None:
    expect(page.locator("#progress-text")).to_contain_text(f"{frames} frames in")


def test_a_video_plays_when_its_results_come_and_can_be_paused(page: Page, tmp_path: Path) -> None:
    choose(page, write_video(tmp_path / "video.mp4", 200))
    page.wait_for_function("() => video.currentTime > 0.3 && !video.paused")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
    page.locator("#play").click()
    finish(page, 200)
    assert page.evaluate("video.paused")


# Read after the page's own callback for the frame.
COUNT_FRAMES = """
() => {
  window.frames_with_boxes = window.frames_without = 0;
  const look = () => setTimeout(() => {
    if (boxes.dataset.frame) window.frames_with_boxes++;
    else window.frames_without++;
    video.requestVideoFrameCallback(look);
  });
  video.requestVideoFrameCallback(look);
}
"""


def test_playback_waits_for_the_results_of_a_slow_server(browser: Browser, tmp_path: Path) -> None:
    with (
        fake_server(tmp_path, seconds_per_frame=0.08) as address,
        opened(browser, address) as page,
    ):
        choose(page, write_video(tmp_path / "video.mp4", 60))
        page.wait_for_function("() => boxes.dataset.frame !== ''")
        page.evaluate(COUNT_FRAMES)
        finish(page, 60)
        page.wait_for_function("() => boxes.dataset.frame === '59'")
        shown, bare = page.evaluate("[window.frames_with_boxes, window.frames_without]")
    assert shown > 20
    assert bare <= 2


def test_settings_change_without_choosing_the_file_again(page: Page, tmp_path: Path) -> None:
    choose(page, write_video(tmp_path / "video.mp4", 23))
    finish(page, 23)
    page.locator("summary").click()
    again = page.get_by_role("button", name="Detect again")
    expect(again).to_be_disabled()
    page.get_by_label("Detect on every n-th frame").fill("5")
    page.get_by_label("Reference frames").select_option("online")
    with page.expect_request("**/detect?*") as request:
        again.click()
    assert "mode=online" in request.value.url and "stride=5" in request.value.url
    finish(page, 5)
    expect(page.locator("#settings-now")).to_have_text("earlier frames only · 1 frame in 5")
    expect(again).to_be_disabled()


def add_a_model(route: Route) -> None:
    response = route.fetch()
    models = response.json()
    route.fulfill(
        response=response, json=[*models, {**models[0], "served_as": "other", "title": "Other model"}]
    )


def leave_tracks_out(route: Route) -> None:
    """An older server does not number objects."""
    response = route.fetch()
    document = response.json()
    post = document["paths"]["/detect"]["post"]
    post["parameters"] = [each for each in post["parameters"] if each["name"] != "tracks"]
    route.fulfill(response=response, json=document)


def test_model_and_tracks_are_settings_where_the_server_offers_them(page: Page, tmp_path: Path) -> None:
    page.route("**/openapi.json", leave_tracks_out)
    page.reload()
    expect(page.locator("#model")).to_contain_text("fake")
    page.locator("summary").click()
    expect(page.locator("#stride")).to_be_visible()
    expect(page.locator("#model-choice")).to_be_hidden()
    expect(page.get_by_label("Number the objects")).to_be_hidden()
    page.route("**/models", add_a_model)
    page.unroute("**/openapi.json")
    page.reload()
    answer_with(page, lambda _: [{**detection((0, 0, 40, 40)), "track_id": 7}], frames=10, size=(64, 48))
    choose(page, write_video(tmp_path / "video.mp4", 10))
    finish(page, 10)
    page.locator("summary").click()
    page.locator("#model-choice").select_option("Other model")
    page.get_by_label("Number the objects").check()
    with page.expect_request("**/detect?*") as request:
        page.get_by_role("button", name="Detect again").click()
    assert "model=other" in request.value.url and "tracks=true" in request.value.url
    expect(page.locator("#here .name")).to_have_text("class 0 #7")


def test_several_videos_queue_in_a_list(browser: Browser, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("no video\n" * 100)
    with (
        fake_server(tmp_path, seconds_per_frame=0.02) as address,
        opened(browser, address) as page,
    ):
        first, second = (write_video(tmp_path / f"{name}.mp4", 40) for name in ("first", "second"))
        choose(page, first, second)
        rows = page.locator("#queue-list li")
        expect(rows.nth(1)).to_contain_text("waiting")
        choose(page, notes)
        expect(page.locator("#name")).to_have_text("first.mp4")
        expect(rows.nth(0)).to_contain_text("40 frames")
        expect(rows.nth(1)).to_contain_text("40 frames")
        expect(rows.nth(2)).to_contain_text("The file is not a video")
        # What another video does changes nothing of what is shown.
        expect(page.locator("#notice")).to_be_hidden()
        rows.nth(2).get_by_role("button").click()
        expect(page.get_by_role("alert").first).to_contain_text("The file is not a video")
        rows.nth(1).get_by_role("button").click()
        expect(page.locator("#name")).to_have_text("second.mp4")
        page.wait_for_function("() => video.currentTime > 0.1")
        finish(page, 40)
        for name in ("second", "notes", "first"):
            expect(page.locator("#name")).to_contain_text(name)
            page.get_by_role("button", name="Remove").click()
        expect(page.get_by_role("button", name="Try the sample")).to_be_visible()


def test_a_busy_server_is_asked_again_after_a_countdown(browser: Browser, tmp_path: Path) -> None:
    with (
        fake_server(
            tmp_path, seconds_per_frame=0.05, max_concurrent=1, max_queued=0, retry_after=3
        ) as address,
        opened(browser, address) as other,
        opened(browser, address) as page,
    ):
        choose(other, write_video(tmp_path / "long.mp4", 100))
        expect(other.locator("#progress-text")).to_contain_text("of 100 frames")
        choose(page, write_video(tmp_path / "short.mp4", 10))
        text = page.locator("#progress-text")
        for seconds in ("2", "1"):
            expect(text).to_have_text(re.compile(rf"The server is busy. Next try in {seconds} s"))
        finish(page, 10)
        expect(page.locator("#notice")).to_be_hidden()


def test_waiting_for_a_busy_server_can_be_cut_short_and_cancelled(page: Page, tmp_path: Path) -> None:
    busy = {"code": "server_busy", "title": "The server is busy", "detail": "later"}
    page.route(
        "**/detect?*", lambda route: route.fulfill(status=503, headers={"Retry-After": "600"}, json=busy)
    )
    choose(page, write_video(tmp_path / "video.mp4", 10))
    expect(page.locator("#progress-text")).to_contain_text("Next try in")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#progress-text")).to_have_text("Cancelled")
    page.get_by_role("button", name="Remove").click()
    choose(page, tmp_path / "video.mp4")
    expect(page.locator("#progress-text")).to_contain_text("Next try in")
    page.unroute("**/detect?*")
    page.get_by_role("button", name="Try now").click()
    finish(page, 10)


def test_full_screen_keeps_its_controls(page: Page, tmp_path: Path) -> None:
    choose(page, write_video(tmp_path / "video.mp4", 100, size=(96, 128)))
    finish(page, 100)
    page.get_by_role("button", name="Full screen").click()
    page.wait_for_function("() => document.fullscreenElement !== null")
    # Each control is inside the screen and nothing is over it.
    uncovered = """id => {
      const { left, top, width, height } = document.getElementById(id).getBoundingClientRect();
      const found = document.elementFromPoint(left + width / 2, top + height / 2);
      return found !== null && document.getElementById(id).contains(found);
    }"""
    for control in ("back", "play", "forward", "sound", "full", "scrub"):
        page.wait_for_function(uncovered, arg=control)
    pause(page)
    page.locator("#scrub").fill("0")
    wait_for_frame(page, 0)
    page.locator("#play").click()
    page.wait_for_function("() => boxes.dataset.frame > 2")
    assert page.evaluate("boxes.clientHeight > 0.8 * innerHeight")
    page.locator("#full").click()
    page.wait_for_function("() => document.fullscreenElement === null")
