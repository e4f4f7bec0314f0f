import { element } from "../parts/dom.ts";
import { ClockPlayhead, VideoPlayhead, type Playhead, type PlayheadListener } from "./playhead.ts";
import type { Results } from "./results.ts";

/** The video; a blank of its size if the browser cannot play it. */
export class Screen {
  readonly #box = element("screen", HTMLElement);
  readonly #video = element("video", HTMLVideoElement);
  readonly #blank = element("blank", HTMLElement);
  readonly #listener: PlayheadListener;
  #playhead: Playhead | null = null;
  #results: Results | null = null;
  #unplayable = false;
  #address = "";

  constructor(listener: PlayheadListener) {
    this.#listener = listener;
    this.#video.addEventListener("loadeddata", () => this.#loaded());
    this.#video.addEventListener("error", () => this.#failed());
    // A known container with an unknown codec may play as sound alone.
    this.#video.addEventListener("loadedmetadata", () => {
      if (!this.#video.videoWidth) this.#failed();
    });
  }

  get playhead(): Playhead | null {
    return this.#playhead;
  }

  /** Width to height as displayed. */
  get aspect(): number {
    const video = this.#video;
    if (!this.#unplayable && video.videoWidth) return video.videoWidth / video.videoHeight;
    return this.#results?.aspect ?? 16 / 9;
  }

  load(file: File): void {
    this.close();
    this.#address = URL.createObjectURL(file);
    this.#video.src = this.#address;
    this.#size();
  }

  /** What the server says of the video, for a browser that cannot play it. */
  describe(results: Results): void {
    this.#results = results;
    if (this.#unplayable) this.#goBlank(results);
    this.#size();
  }

  close(): void {
    this.#playhead?.leave();
    this.#playhead = this.#results = null;
    this.#unplayable = false;
    this.#blank.hidden = true;
    this.#box.dataset["blank"] = "false";
    this.#video.removeAttribute("src");
    this.#video.load();
    URL.revokeObjectURL(this.#address);
  }

  #loaded(): void {
    if (this.#unplayable || this.#playhead) return;
    this.#begin(new VideoPlayhead(this.#video, this.#listener));
  }

  #failed(): void {
    if (this.#unplayable || !this.#video.hasAttribute("src")) return;
    this.#unplayable = true;
    this.#playhead?.leave();
    this.#playhead = null;
    if (this.#results) this.#goBlank(this.#results);
  }

  #goBlank(results: Results): void {
    if (this.#playhead) return;
    this.#blank.textContent = `This browser cannot play ${results.video.codec}. The boxes are shown without the picture.`;
    this.#blank.hidden = false;
    this.#box.dataset["blank"] = "true";
    this.#begin(new ClockPlayhead(() => [results.begin, results.begin + results.duration], this.#listener));
  }

  #begin(playhead: Playhead): void {
    this.#playhead = playhead;
    this.#size();
    this.#listener.presented(playhead.time);
  }

  #size(): void {
    this.#box.style.setProperty("--aspect", String(this.aspect));
  }
}
