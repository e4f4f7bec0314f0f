import { onceAFrame } from "./dom.ts";
import type { Colours } from "./palette.ts";
import { placeLabels, type Area } from "./placement.ts";
import type { Box, Detection } from "../wire/records.ts";
import { nameOf, scoreText } from "./words.ts";

/** Lengths of a line and of a gap in CSS pixels. */
const DASHES = [8, 6];

interface Picture {
  /** Pixels of the frames, in which boxes are. */
  readonly width: number;
  readonly height: number;
  /** By score descending. */
  readonly detections: readonly Detection[];
  readonly colours: Colours;
  /** Index in the source. */
  readonly index: number;
  /** Boxes of a frame that was not detected on are dashed. */
  readonly filled?: boolean;
}

/** Boxes on a canvas that lies over a picture. */
export class Overlay {
  readonly #canvas: HTMLCanvasElement;
  readonly #aspect: () => number;
  readonly #redraw = onceAFrame(() => this.#draw());
  #picture: Picture | null = null;
  #behind: CanvasImageSource | null = null;

  /** `aspect`: width to height of the picture as it is displayed. */
  constructor(canvas: HTMLCanvasElement, aspect: () => number) {
    this.#canvas = canvas;
    this.#aspect = aspect;
    new ResizeObserver(this.#redraw).observe(canvas);
  }

  /** Draw now, in the callback that says which frame is on the screen; `behind` is a picture to draw under them. */
  show(picture: Picture | null, behind: CanvasImageSource | null = null): void {
    this.#picture = picture;
    this.#behind = behind;
    this.#draw();
  }

  #draw(): void {
    const canvas = this.#canvas;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== across || canvas.height !== down) [canvas.width, canvas.height] = [across, down];
    const context = canvas.getContext("2d");
    if (!context) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const area = contained(width, height, this.#aspect());
    if (this.#behind) context.drawImage(this.#behind, area.x, area.y, area.width, area.height);
    // Which frame the boxes belong to, for tests and other tools.
    canvas.dataset["frame"] = this.#picture ? String(this.#picture.index) : "";
    if (this.#picture) drawBoxes(context, area, this.#picture);
  }
}

/** Where a picture is in an element that shows all of it. */
function contained(width: number, height: number, aspect: number): Area {
  const wide = width > height * aspect;
  const size = wide ? { width: height * aspect, height } : { width, height: width / aspect };
  return { x: (width - size.width) / 2, y: (height - size.height) / 2, ...size };
}

function drawBoxes(context: CanvasRenderingContext2D, area: Area, picture: Picture): void {
  // Boxes go by parts of the picture, whatever shape a player gives to the file's pixels.
  const [right, down] = [area.width / picture.width, area.height / picture.height];
  const text = Math.max(11, Math.min(15, area.width / 48));
  context.font = `600 ${text}px ${getComputedStyle(document.body).fontFamily}`;
  context.textBaseline = "middle";
  const found = picture.detections.map((each) => ({
    box: scaled(each.box, right, down, area),
    colour: picture.colours.of(each),
    words: `${nameOf(each)} ${scoreText(each.score)}`,
  }));
  // The best is drawn last, on top of the others, and labels after all boxes, so that no line crosses a label.
  for (const { box, colour } of [...found].reverse()) drawBox(context, box, colour, picture.filled ? DASHES : []);
  const height = Math.round(text * 1.5);
  const labels = found.map(({ box, words }) => ({ box, height, width: context.measureText(words).width + text * 0.8 }));
  for (const [at, place] of placeLabels(labels, area).entries()) {
    if (place) drawLabel(context, place, text, found[at]!);
  }
}

/** A box of the frame in CSS pixels. At the picture's edge its line stays inside. */
function scaled(box: Box, right: number, down: number, area: Area): Area {
  const [x, y] = [Math.max(1, box.x1 * right), Math.max(1, box.y1 * down)];
  const width = Math.min(area.width - 1, box.x2 * right) - x;
  const height = Math.min(area.height - 1, box.y2 * down) - y;
  return { x: area.x + x, y: area.y + y, width, height };
}

function drawBox(
  context: CanvasRenderingContext2D,
  { x, y, width, height }: Area,
  colour: string,
  dashes: readonly number[],
): void {
  context.setLineDash([...dashes]);
  context.strokeStyle = "rgb(0 0 0 / 55%)";
  context.lineWidth = 4;
  context.strokeRect(x, y, width, height);
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.strokeRect(x, y, width, height);
}

function drawLabel(
  context: CanvasRenderingContext2D,
  { x, y, width, height }: Area,
  text: number,
  { colour, words }: { readonly colour: string; readonly words: string },
): void {
  context.fillStyle = colour;
  context.fillRect(x, y, width, height);
  context.fillStyle = "#14130f";
  context.fillText(words, x + text * 0.4, y + height / 2 + 0.5);
}
