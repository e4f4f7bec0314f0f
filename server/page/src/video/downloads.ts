import { element } from "../parts/dom.ts";
import type { Shown } from "../parts/shown.ts";
import { plural } from "../parts/words.ts";
import { isAbort, Problem } from "../wire/problem.ts";
import type { Server } from "../wire/server.ts";
import { csvFile, jsonFile, recordsFile, save } from "./files.ts";
import type { Job } from "./job.ts";
import type { Results } from "./results.ts";

/** The buttons that save what is shown. */
export class Downloads {
  readonly #holds = element("holds", HTMLElement);
  readonly #buttons = ["save-json", "save-csv", "save-video"].map((id) => element(id, HTMLButtonElement));
  readonly #drawing = element("drawing", HTMLElement);
  readonly #drawingText = element("drawing-text", HTMLElement);
  readonly #drawingBar = element("drawing-bar", HTMLProgressElement);
  readonly #server: Server;
  readonly #shown: Shown;
  readonly #failed: (problem: Problem, again: () => void) => void;
  #job: Job | null = null;
  #underway: AbortController | null = null;

  constructor(server: Server, shown: Shown, failed: (problem: Problem, again: () => void) => void) {
    this.#server = server;
    this.#shown = shown;
    this.#failed = failed;
    shown.onChange(() => this.#describe());
    const [json, csv, video] = this.#buttons;
    json!.addEventListener("click", () => void this.#save("json", jsonFile));
    csv!.addEventListener("click", () => void this.#save("csv", csvFile));
    video!.addEventListener("click", () => void this.#draw());
    element("drawing-cancel", HTMLButtonElement).addEventListener("click", () => this.#underway?.abort());
  }

  offerVideo(): void {
    element("save-video", HTMLButtonElement).hidden = false;
  }

  /** The job that is shown. Its results can be saved once it has ended. */
  show(job: Job): void {
    this.#job = job;
    this.#describe();
  }

  async #save(suffix: string, make: (results: Results, shown: Shown) => Promise<Blob>): Promise<void> {
    if (!this.#job?.results) return;
    const { results, file } = this.#job;
    const partly = results.summary ? "" : ".incomplete";
    save(await make(results, this.#shown), `${stem(file.name)}${partly}.${suffix}`);
  }

  /** The server draws the boxes that it gets; it detects nothing again. */
  async #draw(): Promise<void> {
    if (!this.#job?.results || this.#underway) return;
    const { results, file } = this.#job;
    const underway = (this.#underway = new AbortController());
    this.#drawing.hidden = false;
    this.#tell(`Sending ${file.name} and its detections`);
    this.#describe();
    try {
      const records = await recordsFile(results, this.#shown);
      const told = (drawn: number, frames: number) => this.#tell(`Drawing frame ${drawn} of ${frames}`, drawn, frames);
      save(await this.#server.drawn(file, records, told, underway.signal), `${stem(file.name)}.boxes.mp4`);
    } catch (thrown) {
      if (!isAbort(thrown)) this.#failed(Problem.of(thrown), () => void this.#draw());
    }
    this.#underway = null;
    this.#drawing.hidden = true;
    this.#describe();
  }

  #tell(text: string, done: number | null = null, of = 1): void {
    this.#drawingText.textContent = text;
    if (done === null) this.#drawingBar.removeAttribute("value");
    else [this.#drawingBar.max, this.#drawingBar.value] = [of, done];
  }

  #describe(): void {
    const results = this.#job?.isUnderway ? null : this.#job?.results;
    for (const button of this.#buttons) button.disabled = !results?.frames;
    this.#buttons[2]!.disabled ||= this.#underway !== null;
    const hidden = [...(results?.tallies.keys() ?? [])].filter((id) => this.#shown.hidden.has(id)).length;
    const classes = hidden ? plural(results!.tallies.size - hidden, "class", "classes") : "all classes";
    const { followed, hiddenObjects, threshold } = this.#shown;
    const without = hiddenObjects.size ? `, without ${plural(hiddenObjects.size, "object")}` : "";
    const which = followed ? `only object #${followed}` : `${classes}${without}`;
    this.#holds.textContent = results
      ? `What is shown: score at least ${threshold.toFixed(2)}, ${which}.`
      : "Ready when detection ends.";
  }
}

function stem(name: string): string {
  return name.replace(/\.[^.]*$/, "") || "video";
}
