import type { Playhead } from "./playhead.ts";
import type { Results } from "./results.ts";

/** Frames that may still come to the screen after a player is told to pause. */
const MARGIN = 3;
/** Seconds of results that are waited for, so that it does not stop at every frame. */
const AHEAD = 1;

/** Plays once there are results, and waits where detection has not come yet. */
export class Pace {
  readonly #playhead: () => Playhead | null;
  #begun = false;
  #waiting = false;

  constructor(playhead: () => Playhead | null) {
    this.#playhead = playhead;
  }

  /** A new video is shown, or new results of it. */
  reset(): void {
    this.#begun = this.#waiting = false;
  }

  /** Whether the user sees it as paused: not while it waits for results. */
  get paused(): boolean {
    return (this.#playhead()?.paused ?? true) && !this.#waiting;
  }

  turn(): void {
    if (!this.paused) return this.pause();
    this.#begun = true;
    this.#playhead()?.play();
  }

  pause(): void {
    this.#begun = true;
    this.#waiting = false;
    this.#playhead()?.pause();
  }

  /** To be called with every frame on the screen and every record; `ended`: no more records come. */
  follow(results: Results | null, ended: boolean): void {
    const playhead = this.#playhead();
    if (!playhead || !results?.frames) return;
    const known = results.detectedTo - playhead.time;
    if (!playhead.paused && !ended && known < MARGIN * results.frameSeconds) {
      this.#waiting = true;
      playhead.pause();
    } else if ((this.#waiting || !this.#begun) && (ended || known > (this.#begun ? AHEAD : MARGIN * results.frameSeconds))) {
      this.#begun = true;
      this.#waiting = false;
      playhead.play();
    }
  }
}
