import { element } from "./dom.ts";
import type { Results } from "./results.ts";
import { plural, roughly } from "./words.ts";

/** How far it is: to be seen at any time, to be heard every quarter. */
export class Progress {
  readonly #text = element("progress-text", HTMLElement);
  readonly #bar = element("progress", HTMLProgressElement);
  readonly #spoken = element("spoken", HTMLElement);
  #firstFrame = 0;
  #quarter = 0;

  /** Something of unknown length is being done. */
  busy(text: string): void {
    this.#bar.hidden = false;
    this.#bar.removeAttribute("value");
    this.#quarter = 0;
    this.#firstFrame = 0;
    this.#say(text, text);
  }

  frames(results: Results): void {
    const { frames, expected } = results;
    this.#firstFrame ||= performance.now();
    const seconds = (performance.now() - this.#firstFrame) / 1000;
    const rate = (frames - 1) / seconds;
    const left = rate > 0 && seconds > 1 ? ` · ${rate.toFixed(rate < 10 ? 1 : 0)} a second · ${roughly((expected - frames) / rate)} left` : "";
    if (expected) {
      this.#bar.max = expected;
      this.#bar.value = frames;
    }
    const of = expected ? ` of ${plural(expected, "frame")}` : "";
    const quarter = expected ? Math.floor((4 * frames) / expected) : 0;
    const news = quarter > this.#quarter && quarter < 4 ? `${25 * quarter} per cent of the frames detected` : "";
    this.#quarter = Math.max(this.#quarter, quarter);
    this.#say(`${frames.toLocaleString("en")}${of}${left}`, news);
  }

  ended(text: string): void {
    this.#bar.hidden = true;
    this.#say(text, text);
  }

  #say(seen: string, heard: string): void {
    this.#text.textContent = seen;
    if (heard) this.#spoken.textContent = heard;
  }
}
