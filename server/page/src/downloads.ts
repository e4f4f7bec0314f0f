import { element } from "./dom.ts";
import { csvFile, jsonFile, save } from "./files.ts";
import type { Results } from "./results.ts";
import type { DetectOptions } from "./server.ts";
import type { Shown } from "./shown.ts";
import { plural } from "./words.ts";

export interface Finished {
  readonly results: Results;
  readonly file: File;
  readonly options: DetectOptions;
}

/** The buttons that save what is shown. */
export class Downloads {
  readonly #box = element("downloads", HTMLElement);
  readonly #holds = element("holds", HTMLElement);
  readonly #video = element("save-video", HTMLButtonElement);
  readonly #shown: Shown;
  #finished: Finished | null = null;

  /** `draw` asks the server for the video with boxes of these classes, all if null. */
  constructor(shown: Shown, draw: (finished: Finished, classes: readonly string[] | null) => void) {
    this.#shown = shown;
    shown.onChange(() => this.#describe());
    element("save-json", HTMLButtonElement).addEventListener("click", () => void this.#save("json", jsonFile));
    element("save-csv", HTMLButtonElement).addEventListener("click", () => void this.#save("csv", csvFile));
    this.#video.addEventListener("click", () => {
      if (this.#finished) draw(this.#finished, this.#classes(this.#finished.results));
    });
  }

  offerVideo(): void {
    this.#video.hidden = false;
  }

  /** There is something to save; null: no longer. */
  begin(finished: Finished | null): void {
    this.#finished = finished;
    this.#box.hidden = finished === null;
    this.#describe();
  }

  async #save(suffix: string, make: (results: Results, shown: Shown) => Promise<Blob>): Promise<void> {
    if (!this.#finished) return;
    const { results, file } = this.#finished;
    const partly = results.summary ? "" : ".incomplete";
    save(await make(results, this.#shown), `${stem(file.name)}${partly}.${suffix}`);
  }

  #describe(): void {
    if (!this.#finished) return;
    const classes = this.#classes(this.#finished.results);
    const which = classes ? plural(classes.length, "class", "classes") : "all classes";
    const least = this.#shown.threshold.toFixed(2);
    this.#holds.textContent = `Holds what is shown: score at least ${least}, ${which}.`;
    this.#video.disabled = classes?.length === 0;
  }

  #classes(results: Results): readonly string[] | null {
    const found = [...results.tallies];
    if (!found.some(([id]) => this.#shown.hidden.has(id))) return null;
    return found.filter(([id]) => !this.#shown.hidden.has(id)).map(([, tally]) => tally.name);
  }
}

export function stem(name: string): string {
  return name.replace(/\.[^.]*$/, "") || "video";
}
