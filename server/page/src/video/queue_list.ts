import { element, make } from "../parts/dom.ts";
import { bytes, plural } from "../parts/words.ts";
import type { Job } from "./job.ts";

interface Item {
  readonly row: HTMLLIElement;
  readonly button: HTMLButtonElement;
  readonly state: HTMLElement;
}

/** The list of videos, once there are several: how each one is, and which one is shown. */
export class QueueList {
  readonly #box = element("queue", HTMLElement);
  readonly #list = element("queue-list", HTMLOListElement);
  readonly #select: (job: Job) => void;
  readonly #items = new Map<Job, Item>();

  constructor(select: (job: Job) => void) {
    this.#select = select;
  }

  update(jobs: readonly Job[], selected: Job | null): void {
    this.#box.hidden = jobs.length < 2;
    for (const [job, { row }] of this.#items) {
      if (jobs.includes(job)) continue;
      row.remove();
      this.#items.delete(job);
    }
    for (const job of jobs) {
      const { button, state } = this.#items.get(job) ?? this.#add(job);
      button.setAttribute("aria-current", String(job === selected));
      state.textContent = stateText(job);
    }
  }

  #add(job: Job): Item {
    const row = make("li");
    const button = make("button");
    button.type = "button";
    const state = make("span", "number");
    button.append(make("span", "name", job.file.name), state);
    button.addEventListener("click", () => this.#select(job));
    row.append(button);
    this.#list.append(row);
    const item = { row, button, state };
    this.#items.set(job, item);
    return item;
  }
}

function stateText({ state, results, seconds, file, problem }: Job): string {
  switch (state) {
    case "waiting":
      return `waiting · ${bytes(file.size)}`;
    case "busy":
      return `server busy, next try in ${seconds} s`;
    case "running":
      return results?.expected ? `${Math.floor((100 * results.frames) / results.expected)} %` : "sending";
    case "done":
      return plural(results?.frames ?? 0, "frame");
    case "cancelled":
      return "cancelled";
    case "failed":
      return problem?.title ?? "failed";
  }
}
