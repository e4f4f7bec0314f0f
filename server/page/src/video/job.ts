import { isAbort, Problem } from "../wire/problem.ts";
import type { DetectOptions, Server } from "../wire/server.ts";
import { Results } from "./results.ts";

/** Seconds until a busy server is asked again, if it does not say. */
const PATIENCE = 5;

export type JobState = "waiting" | "running" | "busy" | "done" | "cancelled" | "failed";

/** One video and the detection on it. */
export class Job {
  readonly file: File;
  state: JobState = "waiting";
  /** What it was last detected with. */
  options: DetectOptions | null = null;
  results: Results | null = null;
  problem: Problem | null = null;
  /** While the server is busy: seconds until it is asked again. */
  seconds = 0;
  /** When the first frame came, by `performance.now()`. */
  begun = 0;
  #running = new AbortController();
  #tryNow = () => {};

  constructor(file: File) {
    this.file = file;
  }

  get isUnderway(): boolean {
    return this.state === "waiting" || this.state === "running" || this.state === "busy";
  }

  /** Forget the results; it waits for its turn again. */
  reset(): void {
    this.#running.abort();
    this.#running = new AbortController();
    this.state = "waiting";
    this.results = this.problem = null;
  }

  cancel(): void {
    this.#running.abort();
    if (this.isUnderway) this.state = "cancelled";
  }

  /** Ask a busy server at once. */
  retry(): void {
    this.#tryNow();
  }

  /** Detects; calls `changed` after every change. Asks again as long as the server is busy. Throws nothing. */
  async run(server: Server, options: DetectOptions, changed: () => void): Promise<void> {
    const { signal } = this.#running;
    this.options = options;
    try {
      while (!(await this.#attempt(server, signal, changed))) await this.#wait(signal, changed);
    } catch (thrown) {
      // After `reset` or `cancel` the state belongs to them.
      if (signal.aborted) return;
      this.state = isAbort(thrown) ? "cancelled" : "failed";
      this.problem = Problem.of(thrown);
    } finally {
      changed();
    }
  }

  /** False: the server is busy. */
  async #attempt(server: Server, signal: AbortSignal, changed: () => void): Promise<boolean> {
    this.state = "running";
    this.begun = 0;
    changed();
    try {
      for await (const { record, line } of server.detect(this.file, this.options!, signal)) {
        signal.throwIfAborted();
        if (record.type === "video") this.results = new Results(record, line, this.#step);
        else if (record.type !== "error") this.results?.add(record, line);
        if (record.type === "frame") this.begun ||= performance.now();
        changed();
      }
      this.state = "done";
      return true;
    } catch (thrown) {
      if (!(thrown instanceof Problem) || !thrown.isBusy || this.results) throw thrown;
      this.seconds = thrown.retryAfter ?? PATIENCE;
      return false;
    }
  }

  /** Frames of the source from one record to the next. */
  get #step(): number {
    return this.options!.fill ? 1 : this.options!.stride;
  }

  async #wait(signal: AbortSignal, changed: () => void): Promise<void> {
    this.state = "busy";
    for (; this.seconds > 0; this.seconds--) {
      changed();
      await new Promise<void>((resolve) => {
        this.#tryNow = () => {
          this.seconds = 0;
          resolve();
        };
        setTimeout(resolve, 1000);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
      signal.throwIfAborted();
    }
  }
}
