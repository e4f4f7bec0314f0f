"""Using the page: by keyboard, with a screen reader, during detection, with a key, without a server."""

import base64
import json
from pathlib import Path

import pytest
from browser import opened
from contrast import contrasts
from media import write_video
from overlay_pixels import pause, wait_for_frame
from playwright.sync_api import Browser, Page, expect
from served_page import fake_server

WHOLE = {"x1": 1.0, "y1": 1.0}
KEY = "käse/+?"


def choose(page: Page, path: Path) -> None:
    page.locator("#file").set_input_files(path)


def finish(page: Page, frames: int) -> None:
    expect(page.locator("#progress-text")).to_contain_text(f"{frames} frames in")


def test_results_are_shown_during_detection_and_kept_when_it_is_cancelled(
    browser: Browser, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "long.mp4", 240)
    with (
        fake_server(tmp_path, seconds_per_frame=0.03) as address,
        opened(browser, address, accept_downloads=True) as page,
    ):
        choose(page, video)
        expect(page.locator("#rows .row")).to_have_count(1)
        expect(page.locator("#progress-text")).to_contain_text("of 240 frames")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#progress-text")).to_contain_text("Cancelled after")
        with page.expect_download() as download:
            page.get_by_role("button", name="JSON").click()
        found = json.loads(Path(download.value.path()).read_text())
        assert download.value.suggested_filename == "long.incomplete.json"
        assert 0 < len(found["frames"]) < 240 and found["summary"] is None


def test_it_can_be_used_by_keyboard_alone(page: Page) -> None:
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "sample":
            break
    page.keyboard.press("Enter")
    finish(page, 67)
    pause(page)
    page.locator("#scrub").focus()
    page.keyboard.press("Home")
    wait_for_frame(page, 0)
    page.evaluate("document.activeElement.blur()")
    for frame in (1, 2, 3):
        page.keyboard.press(".")
        wait_for_frame(page, frame)
    page.keyboard.press(",")
    wait_for_frame(page, 2)
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    page.locator("#scrub").focus()
    page.keyboard.press("End")
    wait_for_frame(page, 66)
    page.locator("#score").focus()
    page.keyboard.press("End")
    expect(page.locator("#score-value")).to_have_text("1.00")
    page.locator("#tab-video").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#panel-camera")).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "tab-camera"


def test_progress_is_announced_a_few_times_and_the_end_always(page: Page) -> None:
    page.evaluate(
        """() => {
          window.heard = [];
          const spoken = document.getElementById("spoken");
          const hear = () => window.heard.push(spoken.textContent);
          new MutationObserver(hear).observe(spoken, { childList: true });
        }"""
    )
    page.get_by_role("button", name="Try the sample").click()
    finish(page, 67)
    heard = page.evaluate("window.heard")
    assert 2 <= len(heard) <= 6
    assert "67 frames in" in heard[-1]


def test_every_control_has_a_name(page: Page) -> None:
    page.get_by_role("button", name="Try the sample").click()
    finish(page, 67)
    page.locator("summary").dispatch_event("click")
    for role in ("button", "checkbox", "slider", "combobox", "spinbutton", "tab"):
        for control in page.get_by_role(role, include_hidden=False).all():  # type: ignore[arg-type]
            snapshot = control.aria_snapshot()
            assert '"' in snapshot, snapshot


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_enough_contrast(browser: Browser, server: str, scheme: str) -> None:
    with opened(browser, server, color_scheme=scheme) as page:
        found = contrasts(page)
        page.get_by_role("button", name="Try the sample").click()
        finish(page, 67)
        found += contrasts(page)
        page.locator("#tab-camera").click()
        found += contrasts(page)
    assert len(found) > 30
    assert [each for each in found if each[1] < 4.5] == []


def test_on_a_phone_nothing_is_wider_than_the_screen(browser: Browser, server: str) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
    with opened(browser, server, **phone) as page:
        widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        assert page.evaluate(widths) == [360, 360]
        page.get_by_role("button", name="Try the sample").tap()
        finish(page, 67)
        assert page.evaluate(widths) == [360, 360]
        page.locator("#tab-camera").tap()
        assert page.evaluate(widths) == [360, 360]


def test_a_key_is_asked_for_and_not_stored(browser: Browser, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n", encoding="utf-8")
    with fake_server(tmp_path, api_keys_file=keys) as address, opened(browser, address) as page:
        form = page.get_by_label("API key")
        form.fill("wrong")
        form.press("Enter")
        expect(page.locator("#key-wrong")).to_contain_text("not a valid key")
        form.fill(KEY)
        form.press("Enter")
        expect(page.locator("#model")).to_contain_text("fake")
        page.get_by_role("button", name="Try the sample").click()
        finish(page, 67)
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        assert KEY not in page.content()


DROP = """
([name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name));
  for (const type of ["dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
  }
}
"""


def test_a_video_can_be_dropped_anywhere(page: Page, tmp_path: Path) -> None:
    video = write_video(tmp_path / "dropped.mp4", 5).read_bytes()
    page.get_by_role("tab", name="Camera").click()
    page.evaluate(DROP, ["dropped.mp4", base64.b64encode(video).decode()])
    finish(page, 5)
    expect(page.locator("#name")).to_have_text("dropped.mp4")


def test_a_server_that_does_not_answer_is_reported(browser: Browser, tmp_path: Path) -> None:
    with fake_server(tmp_path) as address, opened(browser, address) as page:
        expect(page.locator("#model")).to_contain_text("fake")
        page.route("**/detect*", lambda route: route.abort())
        choose(page, write_video(tmp_path / "video.mp4", 3))
        expect(page.get_by_role("alert")).to_contain_text("The server did not answer")
        page.unroute("**/detect*")
        page.get_by_role("button", name="Try again").click()
        finish(page, 3)


def test_a_missing_camera_is_reported(page: Page) -> None:
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("camera")
    expect(page.get_by_role("button", name="Start")).to_be_enabled()
