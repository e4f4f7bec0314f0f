import { element } from "../parts/dom.ts";
import { plural, roughly } from "../parts/words.ts";
import type { Job, JobState } from "./job.ts";
import type { Results } from "./results.ts";

/** How far a job is. Shown all the time; announced to screen readers at every quarter and change of state. */
export class Progress {
  readonly #text = element("progress-text", HTMLElement);
  readonly #bar = element("progress", HTMLProgressElement);
  readonly #spoken = element("spoken", HTMLElement);
  readonly #retry = element("retry", HTMLButtonElement);
  #announced: readonly [Job | null, JobState | null, quarter: number] = [null, null, 0];

  show(job: Job): void {
    const { state, results } = job;
    const [expected, frames] = [results?.expected ?? 0, results?.frames ?? 0];
    const text = textOf(job);
    this.#text.textContent = text;
    this.#retry.hidden = state !== "busy";
    this.#bar.hidden = !job.isUnderway;
    if (state === "running" && expected) [this.#bar.max, this.#bar.value] = [expected, frames];
    else this.#bar.removeAttribute("value");
    this.#announce(job, expected ? Math.min(3, Math.floor((4 * frames) / expected)) : 0, text);
  }

  #announce(job: Job, quarter: number, text: string): void {
    const [before, state, reached] = this.#announced;
    if (job === before && job.state === state && quarter <= reached) return;
    this.#announced = [job, job.state, quarter];
    this.#spoken.textContent = job.state === "running" && quarter ? `${25 * quarter} percent of the frames detected` : text;
  }
}

function textOf({ state, results, begun, seconds }: Job): string {
  const after = results?.frames ? ` after ${plural(results.frames, "frame")}` : "";
  switch (state) {
    case "waiting":
      return "Waiting for the videos before it";
    case "busy":
      return `The server is busy. Next try in ${seconds} s.`;
    case "running":
      return results?.frames ? runningText(results, begun) : "Sending the video and detecting on its reference frames";
    case "done":
      return doneText(results!);
    case "cancelled":
      return `Cancelled${after}`;
    case "failed":
      return after ? `Stopped${after}` : "No results";
  }
}

function runningText({ frames, expected }: Results, begun: number): string {
  const elapsed = (performance.now() - begun) / 1000;
  const rate = (frames - 1) / elapsed;
  const known = rate > 0 && elapsed > 1;
  const speed = known ? ` · ${rate.toFixed(rate < 10 ? 1 : 0)} frames/s` : "";
  const left = known && expected > frames ? ` · ${roughly((expected - frames) / rate)} left` : "";
  return `${frames.toLocaleString("en")}${expected ? ` of ${plural(expected, "frame")}` : ""}${speed}${left}`;
}

function doneText(results: Results): string {
  const { corrupt = 0, seconds = 0, complete = false } = results.summary ?? {};
  const damaged = corrupt ? `, ${plural(corrupt, "damaged frame")} skipped` : complete ? "" : ", not complete";
  return `${plural(results.frames, "frame")} in ${roughly(seconds)}${damaged}`;
}
