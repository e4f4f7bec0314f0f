"""How detections are shown: labels, colours, the order of rows, the shape of pixels, mirrored pictures."""

import itertools
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from browser import opened
from colour_vision import SIMULATIONS, distance, luminance
from made_records import answer_with, detection
from media import write_video
from overlay_pixels import drawn_pixels, edges_are_drawn, pause, seek
from playwright.sync_api import Browser, Page, expect

SIZE = (320, 240)
LABEL_INK = (0x14, 0x13, 0x0F)
# Every label is one filled rectangle of the boxes' canvas.
WATCH_LABELS = """
const fill = CanvasRenderingContext2D.prototype.fillRect;
const clear = CanvasRenderingContext2D.prototype.clearRect;
CanvasRenderingContext2D.prototype.fillRect = function (...area) {
  if (this.canvas.id === "boxes") window.labels.push(area);
  return fill.apply(this, area);
};
CanvasRenderingContext2D.prototype.clearRect = function (...area) {
  if (this.canvas.id === "boxes") window.labels = [];
  return clear.apply(this, area);
};
window.labels = [];
"""


# The length of the dashes of the last drawn box; 0 for a solid line.
WATCH_DASHES = """
const stroke = CanvasRenderingContext2D.prototype.strokeRect;
CanvasRenderingContext2D.prototype.strokeRect = function (...area) {
  if (this.canvas.id === "boxes") window.dash = this.getLineDash()[0] ?? 0;
  return stroke.apply(this, area);
};
"""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "video.mp4", 10, size=SIZE)


def show(page: Page, video: Path, frames: int = 10) -> None:
    page.locator("#file").set_input_files(video)
    expect(page.locator("#progress-text")).to_contain_text(f"{frames} frames in")
    pause(page)


def test_no_two_labels_overlap_and_all_are_in_the_picture(browser: Browser, server: str, video: Path) -> None:
    with opened(browser, server, WATCH_LABELS) as page:
        crowd = [detection((60 + 2 * i, 40 + 3 * i, 150 + 2 * i, 160 + 3 * i), i % 5) for i in range(20)]
        corners = [detection((0, 0, 8, 6)), detection((312, 0, 320, 240)), detection((0, 232, 320, 240))]
        answer_with(page, lambda _: [*crowd, *corners], frames=10, size=SIZE)
        show(page, video)
        labels = page.evaluate("labels")
        width, height = page.evaluate("[boxes.clientWidth, boxes.clientHeight]")
    assert len(labels) >= 10
    for x, y, w, h in labels:
        assert x >= -0.5 and y >= -0.5 and x + w <= width + 0.5 and y + h <= height + 0.5
    for (x, y, w, h), (left, top, across, down) in itertools.combinations(labels, 2):
        assert (
            x + w <= left + 0.01 or left + across <= x + 0.01 or y + h <= top + 0.01 or top + down <= y + 0.01
        )


def test_one_object_has_its_label_at_its_box(browser: Browser, server: str, video: Path) -> None:
    with opened(browser, server, WATCH_LABELS) as page:
        answer_with(page, lambda _: [detection((80, 100, 160, 200))], frames=10, size=SIZE)
        show(page, video)
        ((x, y, _, h),) = page.evaluate("labels")
        scale = page.evaluate("boxes.clientWidth") / SIZE[0]
    assert abs(x - 80 * scale) < 3 and abs(y + h - 100 * scale) < 3


def test_a_filled_frame_has_dashed_boxes_and_says_so(browser: Browser, server: str, video: Path) -> None:
    with opened(browser, server, WATCH_DASHES) as page:
        page.locator("summary").click()
        expect(page.locator("#fill")).to_be_disabled()
        page.locator("#stride").fill("3")
        page.get_by_label("Fill the frames between").check()
        expect(page.locator("#settings-now")).to_contain_text("1 frame in 3 · frames between filled")
        answer_with(
            page, lambda _: [detection((80, 100, 160, 200))], frames=10, size=SIZE, filled=(1, 2, 4, 5, 7, 8)
        )
        with page.expect_request("**/detect?*") as request:
            show(page, video)
        assert "stride=3&" in request.value.url and "fill=interpolate" in request.value.url
        row = page.locator("#here li")
        for frame, dashed in ((0, False), (1, True), (2, True), (3, False)):
            seek(page, (frame + 0.5) / 25, frame)
            expect(row).to_have_text("class 0filled0.90" if dashed else "class 00.90")
            assert (page.evaluate("dash") > 0) is dashed
        # What follows is not known where only earlier frames count.
        page.locator("#mode").select_option("online")
        expect(page.locator("#fill")).to_be_disabled()


@pytest.mark.parametrize("first", [0, 13])
def test_eight_classes_of_a_video_differ_for_colour_blind_people_too(
    browser: Browser, server: str, video: Path, first: int
) -> None:
    with opened(browser, server) as page:
        # Of these ids, some want the same colour.
        ids = [first, first + 1, first + 8, first + 16, first + 24, first + 3, first + 11, first + 5]
        answer_with(
            page,
            lambda _: [detection((10 * at, 10, 10 * at + 8, 30), i) for at, i in enumerate(ids)],
            frames=10,
            size=SIZE,
        )
        show(page, video)
        texts = page.locator("#rows .swatch").evaluate_all(
            "all => all.map(each => getComputedStyle(each).backgroundColor.match(/[0-9]+/g).map(Number))"
        )
    colours = [(red, green, blue) for red, green, blue in texts]
    assert len(colours) == 8
    for vision in SIMULATIONS:
        apart = min(distance(a, b, vision) for a, b in itertools.combinations(colours, 2))
        assert apart > 0.1, vision
    dark = luminance(LABEL_INK) + 0.05
    assert min(luminance(colour) + 0.05 for colour in colours) / dark > 4.5


def test_rows_are_in_the_order_of_the_number_of_detections_at_the_score(
    browser: Browser, server: str, video: Path
) -> None:
    def found(index: int) -> list[dict[str, object]]:
        often = [detection((10, 10, 60, 60), 7), detection((20, 80, 60, 120), 7)]
        unsure = [detection((100, 10 + 20 * i, 120, 25 + 20 * i), 2, 0.4) for i in range(5)]
        return [*often, *unsure, *([detection((200, 10, 260, 60), 5, 0.8)] * (index % 2))]

    with opened(browser, server) as page:
        answer_with(page, found, frames=10, size=SIZE)
        show(page, video)
        names, counts = page.locator("#rows .row:visible .name"), page.locator("#rows .row:visible .number")
        expect(names).to_have_text(["class 2", "class 7", "class 5"])
        expect(counts).to_have_text(["50", "20", "5"])
        page.locator("#score").fill("0.5")
        expect(names).to_have_text(["class 7", "class 5"])


def test_objects_have_rows_of_their_own_and_can_be_hidden_and_followed(
    browser: Browser, server: str, video: Path
) -> None:
    def found(index: int) -> list[dict[str, object]]:
        first = [{**detection((10, 10, 60, 60), 7), "track_id": 1}]
        second = [{**detection((100, 10, 160, 60), 7), "track_id": 2}] if index >= 5 else []
        return [*first, *second, {**detection((200, 10, 260, 60), 3), "track_id": None}]

    with opened(browser, server, WATCH_LABELS) as page:
        answer_with(page, found, frames=10, size=SIZE)
        show(page, video)
        names, counts = page.locator("#rows .row .name"), page.locator("#rows .row .number")
        expect(names).to_have_text(["class 7", "class 7 #1", "class 7 #2", "class 3"])
        expect(counts).to_have_text(["15", "10", "5", "10"])
        swatches = page.locator("#rows .object .swatch").evaluate_all(
            "all => all.map(each => getComputedStyle(each).backgroundColor)"
        )
        assert len(set(swatches)) == 2
        seek(page, 7.5 / 25, 7)
        here = page.locator("#here li .name")
        expect(here).to_have_text(["class 7 #1", "class 7 #2", "class 3"])
        page.locator("#rows .object", has_text="#1").get_by_role("checkbox").uncheck()
        expect(here).to_have_text(["class 7 #2", "class 3"])
        expect(page.locator("#holds")).to_have_text(re.compile("without 1 object"))
        seek(page, 1.5 / 25, 1)
        follow = page.locator("#rows .object", has_text="#2").get_by_role("button", name="Follow")
        follow.click()
        expect(here).to_have_text(["class 7 #2"])
        expect(page.locator("#boxes")).to_have_attribute("data-frame", "5")
        expect(follow).to_have_attribute("aria-pressed", "true")
        expect(page.locator("#holds")).to_have_text(re.compile("only object #2"))
        follow.click()
        expect(here).to_have_text(["class 7 #2", "class 3"])
        # Another detection gives other numbers.
        page.locator("summary").click()
        page.locator("#stride").fill("2")
        page.get_by_role("button", name="Detect again").click()
        expect(here).to_have_count(3)


def test_pixels_that_are_not_square_are_shown_in_their_shape(
    browser: Browser, server: str, tmp_path: Path
) -> None:
    """Boxes are in the file's pixels; the picture is shown twice as wide, played or blank."""
    box = (40.0, 20.0, 100.0, 80.0)
    for codec in ("libx264", "mpeg4"):
        path = write_video(
            tmp_path / f"{codec}.mp4", 10, codec=codec, size=(128, 96), options={"aspect": "2:1"}
        )
        with opened(browser, server) as page:
            answer_with(
                page, lambda _: [detection(box)], frames=10, size=(128, 96), sample_aspect_ratio="2/1"
            )
            show(page, path)
            expect(page.locator("#facts")).to_contain_text("(shown as 256")
            aspect = page.locator("#screen").evaluate("screen => screen.clientWidth / screen.clientHeight")
            assert aspect == pytest.approx(256 / 96, rel=0.02), codec
            drawn = drawn_pixels(page, (256, 96))
            stretched = {"x1": 80.0, "y1": 20.0, "x2": 200.0, "y2": 80.0}
            assert edges_are_drawn(drawn, stretched, (256, 96)) > 0.95, codec


def mirror(path: Path, width: int) -> None:
    """Make players mirror an MP4: x becomes width - x in the matrix of its track header."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    values = (-1 << 16, 0, 0, 0, 1 << 16, 0, width << 16, 0, 1 << 30)
    data[matrix : matrix + 36] = struct.pack(">9i", *values)
    path.write_bytes(data)


def test_boxes_of_a_mirrored_video_are_around_what_is_seen(
    browser: Browser, server: str, tmp_path: Path
) -> None:
    """Stored left is dark, and so is right as displayed, where the server finds it."""
    picture = np.full((96, 128, 3), 230, np.uint8)
    picture[:, :64] = 20
    path = write_video(tmp_path / "mirrored.mp4", 10, size=(128, 96), picture=lambda _: picture)
    mirror(path, 128)
    with opened(browser, server) as page:
        answer_with(page, lambda _: [detection((64, 0, 128, 96))], frames=10, size=(128, 96))
        show(page, path)
        in_box, outside = page.evaluate(PIXELS)
        drawn = drawn_pixels(page, (128, 96))
        assert edges_are_drawn(drawn, {"x1": 64, "y1": 0, "x2": 128, "y2": 96}, (128, 96)) > 0.95
    assert in_box < 60 and outside > 190


PIXELS = """
() => {
  const probe = document.createElement("canvas");
  [probe.width, probe.height] = [128, 96];
  const context = probe.getContext("2d");
  context.drawImage(video, 0, 0, 128, 96);
  return [96, 32].map(x => context.getImageData(x, 48, 1, 1).data[0]);
}
"""
