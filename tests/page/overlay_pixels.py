"""Pixels of the page's canvas, by the pixels of the video's frames."""

from typing import Any

import numpy as np
import numpy.typing as npt
from playwright.sync_api import Page

__all__ = ["drawn_pixels", "edges_are_drawn", "frame_shown", "pause", "seek", "wait_for_frame"]

# The picture's place on the canvas, by the rules of `object-fit: contain`.
READ = """
([id, aspect]) => {
  const canvas = document.getElementById(id);
  const { width, height } = canvas;
  const area = width > height * aspect
    ? [(width - height * aspect) / 2, 0, height * aspect, height]
    : [0, (height - width / aspect) / 2, width, width / aspect];
  const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  let text = "";
  for (let i = 0; i < data.length; i += 32768) text += String.fromCharCode(...data.subarray(i, i + 32768));
  return { width, height, area, pixels: btoa(text) };
}
"""


def drawn_pixels(page: Page, size: tuple[int, int], canvas: str = "boxes") -> npt.NDArray[np.uint8]:
    """The canvas over the picture, uint8 [H, W, 4] RGBA, cut to the picture."""
    import base64

    width, height = size
    found: dict[str, Any] = page.evaluate(READ, [canvas, width / height])
    pixels = np.frombuffer(base64.b64decode(found["pixels"]), np.uint8)
    image = pixels.reshape(found["height"], found["width"], 4)
    x, y, across, down = (round(value) for value in found["area"])
    return image[y : y + down, x : x + across]


def edges_are_drawn(drawn: npt.NDArray[np.uint8], box: dict[str, float], size: tuple[int, int]) -> float:
    """The part of a box's outline that is drawn on the canvas, 0 to 1."""
    scale = np.array([drawn.shape[1] / size[0], drawn.shape[0] / size[1]])
    (x1, y1), (x2, y2) = (np.array([box[f"x{i}"], box[f"y{i}"]]) * scale for i in (1, 2))
    steps = np.linspace(0, 1, 60)
    points = [
        *((x1 + (x2 - x1) * t, y) for t in steps for y in (y1, y2)),
        *((x, y1 + (y2 - y1) * t) for t in steps for x in (x1, x2)),
    ]
    height, width = drawn.shape[:2]
    hits = [
        drawn[min(height - 1, max(0, int(y))), min(width - 1, max(0, int(x))), 3] > 120 for x, y in points
    ]
    return float(np.mean(hits))


def frame_shown(page: Page, canvas: str = "boxes") -> int | None:
    """The source's index of the frame whose boxes are shown."""
    text = page.locator(f"#{canvas}").get_attribute("data-frame")
    return int(text) if text else None


def wait_for_frame(page: Page, frame: int) -> None:
    """Wait until the boxes of a frame are shown."""
    page.wait_for_function(
        "frame => document.getElementById('boxes').dataset.frame === String(frame)", arg=frame
    )


def pause(page: Page) -> None:
    """Stop the playback that starts with the first results."""
    page.wait_for_function("() => document.getElementById('boxes').dataset.frame !== ''")
    if page.locator("#play").get_attribute("data-playing") == "true":
        page.locator("#play").click()


def seek(page: Page, seconds: float, frame: int) -> None:
    """Pause, go to a time, and wait until the boxes of the frame are shown."""
    page.wait_for_function("() => document.getElementById('boxes').dataset.frame !== ''")
    page.evaluate("seconds => { video.pause(); video.currentTime = seconds; }", seconds)
    wait_for_frame(page, frame)
