"""The camera tab over `WS /stream`, with a camera that is a file."""

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import pytest
from browser import browsing, opened
from overlay_pixels import drawn_pixels, frame_shown
from playwright.sync_api import Browser, Page, expect
from served_page import fake_server, packaged_server

from selsa_bundle.default_bundle import synthetic_bundle, synthetic_video

SIZE = (320, 192)


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample video as what a camera sends: JPEG pictures one after the other."""
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    with av.open(str(synthetic_video())) as container:
        images = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    path.write_bytes(b"".join(cv2.imencode(".jpg", image)[1].tobytes() for image in images))
    return path


@pytest.fixture(scope="module")
def browser(camera: Path) -> Iterator[Browser]:
    with browsing(
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
    ) as browser:
        yield browser


@pytest.fixture(scope="module")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with packaged_server(tmp_path_factory.mktemp("server"), synthetic_bundle()) as address:
        yield address


def start(page: Page) -> None:
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start").click()


def wait_for_frame(page: Page, at_least: int) -> None:
    page.wait_for_function(
        "least => Number(document.getElementById('live-boxes').dataset.frame || -1) >= least", arg=at_least
    )


def camera_is_on(page: Page) -> bool:
    return bool(page.evaluate("document.getElementById('live-video').srcObject !== null"))


def test_boxes_are_drawn_over_the_live_picture_with_latency_and_skipped_pictures(
    browser: Browser, server: str
) -> None:
    with opened(browser, server) as page:
        start(page)
        page.wait_for_function(
            "() => document.querySelectorAll('#live-here .name').length > 0", timeout=30_000
        )
        wait_for_frame(page, 10)
        assert page.locator("#live-boxes").evaluate("canvas => canvas.width") > 0
        assert page.locator("#live-latency").inner_text().endswith(" ms")
        assert 0 < int(page.locator("#live-latency").inner_text().removesuffix(" ms")) < 5000
        assert page.locator("#live-rate").inner_text().endswith(" per second")
        assert page.locator("#live-dropped").inner_text().endswith(" pictures")
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("button", name="Start")).to_be_visible()
        assert not camera_is_on(page)
        assert not drawn_pixels(page, SIZE, "live-boxes").any()


def test_in_step_the_picture_is_the_one_that_the_boxes_are_of(browser: Browser, server: str) -> None:
    with opened(browser, server) as page:
        start(page)
        wait_for_frame(page, 2)
        page.get_by_label("Show each picture together with its boxes").check()
        wait_for_frame(page, (frame_shown(page, "live-boxes") or 0) + 3)
        drawn = drawn_pixels(page, SIZE, "live-boxes")
        inner = drawn[10:-10, 10:-10]
        assert (inner[..., 3] == 255).all()
        assert inner[..., :3].std() > 10


def test_leaving_the_tab_turns_the_camera_off_and_ends_the_stream(browser: Browser, server: str) -> None:
    with opened(browser, server) as page:
        start(page)
        wait_for_frame(page, 1)
        page.get_by_role("tab", name="Video").click()
        assert not camera_is_on(page)
        start(page)
        wait_for_frame(page, 1)


def test_the_camera_works_with_a_key(browser: Browser, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    with fake_server(tmp_path, api_keys_file=keys) as address, opened(browser, address) as page:
        page.get_by_label("API key").fill("secret")
        page.get_by_role("button", name="Use this key").click()
        expect(page.locator("#model")).to_contain_text("fake")
        start(page)
        wait_for_frame(page, 3)


def test_a_busy_server_is_reported(browser: Browser, tmp_path: Path) -> None:
    with fake_server(tmp_path, max_streams=0) as address, opened(browser, address) as page:
        start(page)
        expect(page.get_by_role("alert")).to_contain_text("The server is busy")
        assert not camera_is_on(page)
