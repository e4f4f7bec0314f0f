"""The page on the synthetic video, with the synthetic bundle, in a real browser."""

import csv
import json
import os
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from browser import opened
from overlay_pixels import drawn_pixels, edges_are_drawn, frame_shown, pause, seek
from playwright.sync_api import Browser, Page, expect
from served_page import packaged_server

from selsa_bundle.default_bundle import default_bundle, synthetic_bundle, synthetic_video
from selsa_client.formats.by_record import as_table
from selsa_server.schema.detect import FrameRecord, VideoRecord

SIZE = (320, 192)
LEAST = 0.3
GAP = 1 / 25
Frames = list[dict[str, Any]]


@pytest.fixture(scope="module")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with packaged_server(tmp_path_factory.mktemp("server"), synthetic_bundle()) as address:
        yield address


@pytest.fixture(scope="module")
def finished(browser: Browser, server: str) -> Iterator[tuple[Page, str]]:
    """The page with all results of the sample, and the records that the server sent for it."""
    with opened(browser, server, accept_downloads=True) as page:
        with page.expect_response("**/detect?*", timeout=90_000) as response:
            page.set_input_files("input[type=file]", synthetic_video())
        expect(page.locator("#progress-text")).to_contain_text("150 frames in", timeout=90_000)
        pause(page)
        # The browser does not keep an answer of this size; the server gives the same records again.
        again = httpx.post(
            response.value.url,
            content=synthetic_video().read_bytes(),
            headers={"Accept": "application/x-ndjson"},
            timeout=90,
        )
        yield page, again.text


@pytest.fixture(scope="module")
def document(finished: tuple[Page, str]) -> dict[str, Any]:
    """The records as the document that the server would have sent."""
    video, *frames, summary = map(json.loads, finished[1].splitlines())
    assert (video["type"], summary["type"], len(frames)) == ("video", "summary", 150)
    return {"video": video, "frames": frames, "summary": summary}


@pytest.fixture
def page(finished: tuple[Page, str]) -> Page:
    """The finished page with everything shown that it shows at first."""
    page, _ = finished
    page.locator("#score").fill(str(LEAST))
    for box in page.locator("#rows input:visible").all():
        box.check()
    return page


def shown(frame: dict[str, Any], least: float = LEAST) -> list[dict[str, Any]]:
    return [found for found in frame["detections"] if found["score"] >= least]


def interesting(frames: Frames) -> Frames:
    """Some frames over the whole video in which something is."""
    return [frame for frame in frames if shown(frame)][::12]


def is_clear(frame: dict[str, Any]) -> bool:
    """Everything that is shown is sure, and of a class of its own."""
    names = [found["class_name"] for found in shown(frame)]
    return shown(frame) == shown(frame, 0.9) and len(set(names)) == len(names)


def middle(frame: dict[str, Any]) -> float:
    return float(frame["time"]) + GAP / 2


def test_boxes_are_on_the_canvas_where_the_records_say(page: Page, document: dict[str, Any]) -> None:
    frames = interesting(document["frames"])
    assert len(frames) > 5
    for frame in frames:
        seek(page, middle(frame), frame["index"])
        drawn = drawn_pixels(page, SIZE)
        assert min(edges_are_drawn(drawn, found["box"], SIZE) for found in shown(frame)) > 0.95


def test_nothing_is_drawn_far_from_the_boxes_and_their_names(page: Page, document: dict[str, Any]) -> None:
    for frame in interesting(document["frames"])[::2]:
        seek(page, middle(frame), frame["index"])
        drawn = drawn_pixels(page, SIZE)[..., 3] > 0
        assert drawn.any()
        for found in shown(frame):
            x1, y1, x2, y2 = (
                found["box"][name] * drawn.shape[1] / SIZE[0] for name in ("x1", "y1", "x2", "y2")
            )
            # A label is above, in or below its box, and may be moved by three heights where others are.
            left, top = round(min(x1, x2 - 170, drawn.shape[1] - 170)) - 5, round(y1) - 4 * 24
            drawn[max(0, top) : round(y2) + 30, max(0, left) : round(max(x2, x1 + 170)) + 5] = False
        assert not drawn.any()


WATCH_DRAWING = """
() => {
  window.drawing = [];
  const text = document.getElementById("drawing-text");
  new MutationObserver(() => window.drawing.push(text.textContent)).observe(text, { childList: true });
}
"""


@pytest.mark.slow
def test_the_drawn_video_reuses_the_records_and_has_the_boxes_of_the_page(
    page: Page, document: dict[str, Any], tmp_path: Path
) -> None:
    page.evaluate(WATCH_DRAWING)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    with page.expect_download(timeout=90_000) as download:
        page.get_by_role("button", name="MP4 with the boxes drawn").click()
    path = tmp_path / "drawn.mp4"
    download.value.save_as(path)
    assert download.value.suggested_filename == "sample.boxes.mp4"
    # The records are reused, and the progress was shown.
    assert [each for each in asked if each.startswith(("detect", "draw"))] == ["draw"]
    assert any(re.fullmatch(r"Drawing frame \d+ of 150", text) for text in page.evaluate("window.drawing"))
    expect(page.locator("#drawing")).to_be_hidden()
    frames = interesting(document["frames"])[::2]
    source, drawn = pictures(synthetic_video()), pictures(path)
    assert len(source) == len(drawn)
    for frame in frames:
        changed = np.abs(drawn[frame["index"]].astype(int) - source[frame["index"]]).max(2) > 40
        seek(page, middle(frame), frame["index"])
        on_page = drawn_pixels(page, SIZE)
        for found in shown(frame):
            assert edges_are_drawn(on_page, found["box"], SIZE) > 0.95
            assert changed_along(changed, found["box"]) > 0.8


def pictures(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def changed_along(changed: Any, box: dict[str, float]) -> float:
    """How much of a box's outline, give or take two pixels, is in pixels that changed."""
    height, width = changed.shape
    steps = np.linspace(0, 1, 40)
    x1, y1, x2, y2 = (box[name] for name in ("x1", "y1", "x2", "y2"))
    points = [(x1 + (x2 - x1) * t, y) for t in steps for y in (y1, y2)]
    points += [(x, y1 + (y2 - y1) * t) for t in steps for x in (x1, x2)]
    hits = []
    for x, y in points:
        column, row = min(width - 1, max(0, round(x))), min(height - 1, max(0, round(y)))
        hits.append(changed[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3].any())
    return float(np.mean(hits))


def test_the_slider_acts_at_once_on_boxes_rows_and_list(page: Page, document: dict[str, Any]) -> None:
    frame = max(document["frames"], key=lambda frame: len(frame["detections"]))
    seek(page, middle(frame), frame["index"])
    for least in (0.05, 0.3, 0.9, 1):
        page.locator("#score").fill(str(least))
        # At once is with the next picture.
        page.evaluate("new Promise(seen => requestAnimationFrame(() => requestAnimationFrame(seen)))")
        assert (
            page.locator("#here .name").all_inner_texts()
            == [found["class_name"] for found in shown(frame, least)][:10]
        )
        counts = {
            row.locator(".name").inner_text(): int(row.locator(".number").inner_text())
            for row in page.locator("#rows .row:visible").all()
        }
        every = [found["class_name"] for each in document["frames"] for found in shown(each, least)]
        assert counts == {name: every.count(name) for name in set(every)}


def test_a_class_that_is_taken_out_is_neither_drawn_nor_listed(page: Page, document: dict[str, Any]) -> None:
    frame = next(frame for frame in document["frames"] if len({d["class_name"] for d in shown(frame)}) > 1)
    seek(page, middle(frame), frame["index"])
    gone = shown(frame)[0]["class_name"]
    page.get_by_role("checkbox", name=gone).uncheck()
    assert gone not in page.locator("#here .name").all_inner_texts()
    drawn = drawn_pixels(page, SIZE)
    for found in shown(frame):
        is_drawn = edges_are_drawn(drawn, found["box"], SIZE) > 0.95
        assert is_drawn == (found["class_name"] != gone)


def test_a_click_on_the_time_line_goes_there(page: Page) -> None:
    lane = page.locator("#rows canvas:visible").first
    box = lane.bounding_box()
    assert box is not None
    lane.click(position={"x": box["width"] / 2, "y": 5})
    page.wait_for_function("() => Math.abs(document.getElementById('video').currentTime - 3) < 0.03")
    expect(page.locator("#clock")).to_contain_text("0:03.0")
    assert frame_shown(page) in (74, 75)


def saved(page: Page, button: str) -> tuple[str, str]:
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    return download.value.suggested_filename, Path(download.value.path()).read_text()


def without_times(document: dict[str, Any]) -> dict[str, Any]:
    summary = {
        name: value for name, value in document["summary"].items() if name not in ("seconds", "timings")
    }
    return {**document, "summary": summary}


def test_the_json_file_is_the_servers_document_of_what_is_shown(page: Page, document: dict[str, Any]) -> None:
    page.locator("#score").fill("0.05")
    name, text = saved(page, "JSON")
    found = json.loads(text)
    assert name == "sample.json"
    # Each run takes its own time.
    assert without_times(found) == without_times(document)
    page.locator("#score").fill("0.7")
    _, text = saved(page, "JSON")
    assert json.loads(text)["frames"] == [
        {**frame, "detections": shown(frame, 0.7)} for frame in document["frames"]
    ]


def test_the_csv_file_is_that_of_the_command_for_what_is_shown(page: Page, document: dict[str, Any]) -> None:
    name, text = saved(page, "CSV")
    encode = as_table()
    records = [VideoRecord.model_validate(document["video"])]
    frames = [{**frame, "detections": shown(frame)} for frame in document["frames"]]
    parts = [encode(record) for record in (*records, *map(FrameRecord.model_validate, frames))]
    assert name == "sample.csv"
    assert rows(text) == rows(b"".join(part for each in parts for part in each).decode())


def rows(text: str) -> list[list[float | str]]:
    """Cells as numbers where they are: 1 and 1.0 are the same."""
    return [
        [float(cell) if cell[:1].isdigit() else cell for cell in row] for row in csv.reader(StringIO(text))
    ]


def test_a_long_list_beside_the_picture_does_not_move_the_controls(
    page: Page, document: dict[str, Any]
) -> None:
    frame = max(document["frames"], key=lambda frame: len(frame["detections"]))
    seek(page, middle(frame), frame["index"])
    page.set_viewport_size({"width": 1040, "height": 720})
    tops = set()
    for least, rows in ((0.05, 10), (1, 0)):
        page.locator("#score").fill(str(least))
        expect(page.locator("#here .name")).to_have_count(rows)
        tops.add(page.locator("#scrub").evaluate("each => each.getBoundingClientRect().top"))
    page.set_viewport_size({"width": 1280, "height": 860})
    assert len(tops) == 1


def test_the_everyday_model_finds_people_in_the_sample(browser: Browser, tmp_path: Path) -> None:
    """With SELSA_SCREENSHOT, also makes the picture of the documentation."""
    with (
        packaged_server(tmp_path, default_bundle()) as address,
        opened(browser, address, viewport={"width": 1040, "height": 720}) as page,
    ):
        page.get_by_role("button", name="Try the sample").click()
        expect(page.locator("#progress-text")).to_contain_text("67 frames in", timeout=90_000)
        pause(page)
        seek(page, 0.43, 6)
        assert page.locator("#here .name").all_inner_texts()[:2] == ["person", "person"]
        page.mouse.move(0, 0)
        page.wait_for_timeout(200)
        picture = page.screenshot(full_page=True)
    if target := os.environ.get("SELSA_SCREENSHOT"):
        Path(target).write_bytes(picture)
