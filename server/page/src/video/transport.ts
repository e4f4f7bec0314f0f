import { element } from "../parts/dom.ts";
import type { Pace } from "./pace.ts";
import type { Playhead } from "./playhead.ts";
import type { Results } from "./results.ts";
import { clockTime } from "../parts/words.ts";

/** The buttons, keys and slider of playback. */
export class Transport {
  readonly #scrub = element("scrub", HTMLInputElement);
  readonly #play = element("play", HTMLButtonElement);
  readonly #clock = element("clock", HTMLElement);
  readonly #sound = element("sound", HTMLButtonElement);
  readonly #work = element("work", HTMLElement);
  readonly #video = element("video", HTMLVideoElement);
  readonly #playhead: () => Playhead | null;
  readonly #pace: Pace;
  #results: Results | null = null;

  constructor(playhead: () => Playhead | null, pace: Pace) {
    this.#playhead = playhead;
    this.#pace = pace;
    this.#scrub.addEventListener("input", () => this.seekTo(this.#scrub.valueAsNumber));
    this.#play.addEventListener("click", () => this.#pace.turn());
    element("screen", HTMLElement).addEventListener("click", () => this.#pace.turn());
    element("back", HTMLButtonElement).addEventListener("click", () => this.#step(-1));
    element("forward", HTMLButtonElement).addEventListener("click", () => this.#step(1));
    const full = element("full", HTMLButtonElement);
    full.hidden = !document.fullscreenEnabled;
    full.addEventListener("click", () => toggleFullScreen());
    this.#sound.addEventListener("click", () => this.#setSound(this.#video.muted));
    document.addEventListener("keydown", (event) => this.#onKey(event));
    this.#setSound(false);
  }

  begin(results: Results | null): void {
    this.#results = results;
    this.update();
  }

  /** Goes to a part of the video, 0 to 1. */
  seekTo(part: number): void {
    if (this.#results) this.#playhead()?.seek(this.#results.secondsAt(part));
  }

  /** Shows the position and how far detection is. */
  update(): void {
    const results = this.#results;
    const duration = results?.duration ?? 0;
    const part = results?.partAt(this.#playhead()?.time ?? 0) ?? 0;
    this.#scrub.value = String(part);
    this.#scrub.setAttribute("aria-valuetext", `${clockTime(part * duration)} of ${clockTime(duration)}`);
    this.#clock.textContent = `${clockTime(part * duration)} / ${clockTime(duration)}`;
    this.#work.style.setProperty("--at", String(part));
    this.#work.style.setProperty("--detected", String(results?.detected ?? 0));
    const { paused } = this.#pace;
    this.#play.setAttribute("aria-label", paused ? "Play" : "Pause");
    this.#play.dataset["playing"] = String(!paused);
  }

  /** To the next or previous frame with a result; without one, by the average time of a frame. */
  #step(by: 1 | -1): void {
    const [playhead, results] = [this.#playhead(), this.#results];
    if (!playhead || !results) return;
    this.#pace.pause();
    const at = results.frameAt(playhead.time);
    const to = at + by;
    const known = at >= 0 && to >= 0 && to < results.frames;
    const from = known ? results.timeOf(to) : playhead.time + by * results.frameSeconds;
    // Into the frame: at its edge, rounding would decide which frame is shown.
    const end = known && to + 1 < results.frames ? results.timeOf(to + 1) : from + results.frameSeconds;
    playhead.seek(from + Math.min(0.01, (end - from) / 2));
  }

  #setSound(on: boolean): void {
    this.#video.muted = !on;
    this.#sound.setAttribute("aria-pressed", String(on));
  }

  #onKey(event: KeyboardEvent): void {
    const target = event.target;
    const typing = target instanceof Element && target.closest("input, select, button, summary, textarea, a") !== null;
    const hidden = this.#work.closest("[hidden]") !== null;
    if (hidden || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && !typing) this.#pace.turn();
    else if (event.key === "," && !isText(target)) this.#step(-1);
    else if (event.key === "." && !isText(target)) this.#step(1);
    else return;
    event.preventDefault();
  }
}

function isText(target: EventTarget | null): boolean {
  return target instanceof HTMLInputElement && !["range", "checkbox"].includes(target.type);
}

function toggleFullScreen(): void {
  const change = document.fullscreenElement
    ? document.exitFullscreen()
    : element("stage", HTMLElement).requestFullscreen();
  change.catch(() => undefined);
}
