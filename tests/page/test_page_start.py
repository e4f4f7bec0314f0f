"""What a visitor sees first, on a desk and on a phone, and whether everybody can use it (axe)."""

from pathlib import Path
from typing import Any

import pytest
from browser import opened
from media import write_video
from playwright.sync_api import Browser, Page, Route, expect

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
}


def finish(page: Page, frames: int) -> None:
    expect(page.locator("#progress-text")).to_contain_text(f"{frames} frames in")


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desk", "phone"])
def test_the_start_page_says_what_it_does_with_the_sample_a_click_away(
    browser: Browser, server: str, options: dict[str, Any]
) -> None:
    with opened(browser, server, **options) as page:
        expect(page.locator(".welcome")).to_contain_text("detects the objects in every frame")
        sample = page.get_by_role("button", name="Try the sample")
        expect(sample).to_be_in_viewport()
        sample.click()
        finish(page, 67)


def describe_the_model(route: Route) -> None:
    response = route.fetch()
    words = {"title": "Everyday objects", "description": "For street scenes.", "warning": "Not for medicine."}
    route.fulfill(response=response, json=[{**response.json()[0], **words}])


def test_the_model_is_named_with_its_classes_and_its_purpose(browser: Browser, server: str) -> None:
    with opened(browser, server) as page:
        card = page.locator("#about-model")
        expect(card).to_contain_text("This server's model: fake")
        expect(card).to_contain_text("It knows 2 classes: dog, fox.")
        page.route("**/models", describe_the_model)
        page.reload()
        expect(card).to_contain_text("This server's model: Everyday objects")
        expect(card).to_contain_text("For street scenes.")
        expect(card).to_contain_text("Not for medicine.")
        expect(page.locator("#model")).to_contain_text("Everyday objects")


# A control in a label is as large as its label.
SMALL = """
() => [...document.querySelectorAll("button, input, select, summary, a")]
  .map(each => (each.type === "checkbox" && each.closest("label")) || each)
  .filter(each => each.checkVisibility() && each.getClientRects().length)
  .map(each => [each.id || each.textContent.trim(), each.getBoundingClientRect()])
  .filter(([, { width, height }]) => width < 44 || height < 44)
  .map(([name, { width, height }]) => `${name}: ${width} x ${height}`)
"""


def test_on_a_phone_every_target_has_44_pixels(browser: Browser, server: str, tmp_path: Path) -> None:
    with opened(browser, server, **PHONE) as page:
        assert page.evaluate(SMALL) == []
        videos = [write_video(tmp_path / f"{at}.mp4", 20) for at in range(2)]
        page.locator("#score").evaluate(
            "slider => { slider.value = 0.05; slider.dispatchEvent(new Event('input')); }"
        )
        page.locator("#file").set_input_files(videos)
        finish(page, 20)
        page.locator("summary").tap()
        expect(page.locator("#stride")).to_be_visible()
        expect(page.locator("#rows .row")).to_have_count(1)
        assert page.evaluate(SMALL) == []
        page.locator("#tab-camera").tap()
        assert page.evaluate(SMALL) == []


def test_on_a_phone_score_and_downloads_are_above_the_rows(browser: Browser, server: str) -> None:
    with opened(browser, server, **PHONE) as page:
        page.get_by_role("button", name="Try the sample").tap()
        finish(page, 67)
        tops = [
            page.locator(name).evaluate("each => each.getBoundingClientRect().top")
            for name in ("#screen", "#scrub", "#score", "#save-json", "#rows")
        ]
    assert tops == sorted(tops)


def test_on_a_phone_there_is_no_word_about_dropping_or_keys(browser: Browser, server: str) -> None:
    with opened(browser, server) as page:
        words = page.locator("body").inner_text()
        assert "Drop videos here" in words and "Space" in words
    with opened(browser, server, **PHONE) as page:
        words = page.locator("body").inner_text().lower()
        assert "choose a video" in words
        assert "drop" not in words and "space" not in words


def serious(page: Page) -> list[str]:
    """What axe finds that is serious or critical, with the elements."""
    found = page.evaluate("axe.run()")
    return [
        f"{each['id']}: {[node['target'] for node in each['nodes']]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    browser: Browser, server: str, page_tools: Path, scheme: str, tmp_path: Path
) -> None:
    axe = (page_tools / "axe-core" / "axe.min.js").read_text()
    with opened(browser, server, axe, color_scheme=scheme) as page:
        expect(page.locator("#about-model")).to_be_visible()
        assert serious(page) == []
        notes = tmp_path / "notes.txt"
        notes.write_text("no video\n" * 100)
        page.locator("#score").evaluate(
            "slider => { slider.value = 0.05; slider.dispatchEvent(new Event('input')); }"
        )
        page.locator("#file").set_input_files([write_video(tmp_path / "video.mp4", 20), notes])
        finish(page, 20)
        page.locator("summary").click()
        assert serious(page) == []
        page.locator("#queue-list button").nth(1).click()
        expect(page.get_by_role("alert").first).to_contain_text("not a video")
        assert serious(page) == []
        page.locator("#tab-camera").click()
        assert serious(page) == []
