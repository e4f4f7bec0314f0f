"""Using the page: by keyboard, by ear, on a phone, while the server works, with servers of all kinds."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import browsing, opened
from contrast import contrasts
from media import write_video
from overlay_pixels import frame_shown
from playwright.sync_api import Browser, Page, expect
from served_page import fake_server

WHOLE = {"x1": 1.0, "y1": 1.0}
KEY = "käse/+?"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with fake_server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    with opened(browser, server) as page:
        yield page


def choose(page: Page, path: Path) -> None:
    page.locator("#file").set_input_files(path)


def finish(page: Page, frames: int) -> None:
    expect(page.locator("#progress-text")).to_contain_text(f"{frames} frames in")


def test_results_come_while_the_server_works_and_cancelling_keeps_them(
    browser: Browser, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "long.mp4", 240)
    with (
        fake_server(tmp_path, seconds_per_frame=0.03) as address,
        opened(browser, address, accept_downloads=True) as page,
    ):
        choose(page, video)
        page.wait_for_function("() => document.getElementById('boxes').dataset.frame === '0'")
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
    finish(page, 150)
    assert frame_shown(page) == 0
    page.evaluate("document.activeElement.blur()")
    for _ in range(3):
        before = frame_shown(page)
        page.keyboard.press(".")
        page.wait_for_function(
            "f => document.getElementById('boxes').dataset.frame === String(f)", arg=before + 1
        )
    page.keyboard.press(",")
    page.wait_for_function("() => document.getElementById('boxes').dataset.frame === '2'")
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    page.locator("#scrub").focus()
    page.keyboard.press("End")
    page.wait_for_function("() => document.getElementById('boxes').dataset.frame === '149'")
    page.locator("#score").focus()
    page.keyboard.press("End")
    expect(page.locator("#score-value")).to_have_text("1.00")
    page.locator("#tab-video").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#panel-camera")).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "tab-camera"


def test_progress_is_spoken_seldom_and_the_end_always(page: Page) -> None:
    page.evaluate(
        """() => {
          window.heard = [];
          const spoken = document.getElementById("spoken");
          const hear = () => window.heard.push(spoken.textContent);
          new MutationObserver(hear).observe(spoken, { childList: true });
        }"""
    )
    page.get_by_role("button", name="Try the sample").click()
    finish(page, 150)
    heard = page.evaluate("window.heard")
    assert 2 <= len(heard) <= 6
    assert "150 frames in" in heard[-1]


def test_every_control_has_a_name(page: Page) -> None:
    page.get_by_role("button", name="Try the sample").click()
    finish(page, 150)
    page.locator("summary").dispatch_event("click")
    for role in ("button", "checkbox", "slider", "combobox", "spinbutton", "tab"):
        for control in page.get_by_role(role, include_hidden=False).all():  # type: ignore[arg-type]
            snapshot = control.aria_snapshot()
            assert '"' in snapshot, snapshot


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out(browser: Browser, server: str, scheme: str) -> None:
    with opened(browser, server, color_scheme=scheme) as page:
        found = contrasts(page)
        page.get_by_role("button", name="Try the sample").click()
        finish(page, 150)
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
        finish(page, 150)
        assert page.evaluate(widths) == [360, 360]
        page.locator("#tab-camera").tap()
        assert page.evaluate(widths) == [360, 360]


def test_a_key_is_asked_for_and_kept_nowhere(browser: Browser, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n", encoding="utf-8")
    with fake_server(tmp_path, api_keys_file=keys) as address, opened(browser, address) as page:
        form = page.get_by_label("API key")
        form.fill("wrong")
        form.press("Enter")
        expect(page.locator("#key-wrong")).to_contain_text("not one of its keys")
        form.fill(KEY)
        form.press("Enter")
        expect(page.locator("#model")).to_contain_text("fake")
        page.get_by_role("button", name="Try the sample").click()
        finish(page, 150)
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        assert KEY not in page.content()


def test_another_video_takes_the_place_of_one_that_is_being_worked_on(
    browser: Browser, tmp_path: Path
) -> None:
    first = write_video(tmp_path / "first.mp4", 240)
    second = write_video(tmp_path / "second.mp4", 12)
    with (
        fake_server(tmp_path, seconds_per_frame=0.01) as address,
        opened(browser, address) as page,
    ):
        choose(page, first)
        expect(page.locator("#progress-text")).to_contain_text("of 240 frames")
        choose(page, second)
        finish(page, 12)
        expect(page.locator("#name")).to_have_text("second.mp4")
        page.get_by_role("button", name="Another video").click()
        expect(page.get_by_text("Drop a video here")).to_be_visible()


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


def test_a_server_that_is_gone_is_told(browser: Browser, tmp_path: Path) -> None:
    with fake_server(tmp_path) as address, opened(browser, address) as page:
        expect(page.locator("#model")).to_contain_text("fake")
        page.route("**/detect*", lambda route: route.abort())
        choose(page, write_video(tmp_path / "video.mp4", 3))
        expect(page.get_by_role("alert")).to_contain_text("The server did not answer")
        page.unroute("**/detect*")
        page.get_by_role("button", name="Try again").click()
        finish(page, 3)


def test_a_camera_that_cannot_be_had_is_told(page: Page) -> None:
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("camera")
    expect(page.get_by_role("button", name="Start")).to_be_enabled()
