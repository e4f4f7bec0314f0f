import type { DetectOptions, Server } from "../wire/server.ts";
import { Job } from "./job.ts";

/** Videos that are detected on, one at a time, in the order in which they were added. */
export class Queue {
  readonly #server: Server;
  readonly #options: () => DetectOptions;
  readonly #changed: (job: Job) => void;
  #jobs: Job[] = [];
  #working = false;

  /** `options` is asked when a video has its turn; `changed` is called after every change of a job. */
  constructor(server: Server, options: () => DetectOptions, changed: (job: Job) => void) {
    this.#server = server;
    this.#options = options;
    this.#changed = changed;
  }

  get jobs(): readonly Job[] {
    return this.#jobs;
  }

  add(files: readonly File[]): readonly Job[] {
    const added = files.map((file) => new Job(file));
    this.#jobs.push(...added);
    void this.#work();
    return added;
  }

  /** Detect again, with the settings of now. */
  again(job: Job): void {
    job.reset();
    this.#changed(job);
    void this.#work();
  }

  cancel(job: Job): void {
    job.cancel();
    this.#changed(job);
  }

  remove(job: Job): void {
    job.cancel();
    this.#jobs = this.#jobs.filter((each) => each !== job);
  }

  async #work(): Promise<void> {
    if (this.#working) return;
    this.#working = true;
    for (let next = this.#next; next; next = this.#next) {
      const job = next;
      await job.run(this.#server, this.#options(), () => this.#changed(job));
      // Without a key the others would be refused as well.
      if (job.problem?.status === 401) break;
    }
    this.#working = false;
  }

  get #next(): Job | undefined {
    return this.#jobs.find(({ state }) => state === "waiting");
  }
}
