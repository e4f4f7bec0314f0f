import { Problem } from "./problem.ts";
import { parseRecord, type FrameRecord, type VideoRecord } from "./records.ts";

/** Pictures in flight at once: enough to keep the engines busy, few enough to be recent. */
const MOST_UNDERWAY = 3;

export interface LiveListener {
  video(record: VideoRecord): void;
  frame(record: FrameRecord, latency: number): void;
  /** The stream ended; with a Problem if it failed. */
  ended(problem: Problem | null): void;
}

/** One run of `WS /stream` on single pictures. The server may skip pictures. */
export class Live {
  readonly #socket: WebSocket;
  readonly #listener: LiveListener;
  readonly #sentAt: number[] = [];
  #next = 0;
  #open = false;
  #problem: Problem | null = null;
  #complete = false;
  /** Pictures that the server skipped. */
  dropped = 0;

  constructor(socket: WebSocket, model: string | undefined, listener: LiveListener) {
    this.#socket = socket;
    this.#listener = listener;
    socket.addEventListener("open", () => {
      const start = { type: "start", container: "jpeg", drop: "oldest", decode: "tolerant", ...(model && { model }) };
      this.#open = true;
      this.#say(JSON.stringify(start));
    });
    socket.addEventListener("message", ({ data }) => this.#take(String(data)));
    socket.addEventListener("close", ({ code }) => this.#closed(code));
  }

  get wantsMore(): boolean {
    return this.#open && this.#sentAt.length - this.#next < MOST_UNDERWAY && this.#socket.bufferedAmount === 0;
  }

  /** Send a picture that was taken at `taken` of `performance.now()`; returns its index. */
  send(jpeg: ArrayBuffer, taken: number): number {
    const first = this.#sentAt[0] ?? taken;
    this.#sentAt.push(taken);
    this.#say(JSON.stringify({ type: "frame", time: (taken - first) / 1000 }));
    this.#say(jpeg);
    return this.#sentAt.length - 1;
  }

  /** No more pictures follow; results of those in flight still come. */
  end(): void {
    this.#complete = true;
    if (this.#open) this.#say('{"type":"end"}');
    else this.#socket.close();
    this.#open = false;
  }

  /** Sends nothing after the server has closed, which would be an error. */
  #say(message: string | ArrayBuffer): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(message);
  }

  #take(text: string): void {
    try {
      const record = parseRecord(text);
      if (record.type === "video") this.#listener.video(record);
      else if (record.type === "frame") this.#frame(record);
      else if (record.type === "error") this.#problem = Problem.ofRecord(record);
    } catch (thrown) {
      this.#problem = Problem.of(thrown);
      this.#socket.close();
    }
  }

  #frame(record: FrameRecord): void {
    this.dropped += Math.max(0, record.index - this.#next);
    this.#next = record.index + 1;
    this.#listener.frame(record, performance.now() - (this.#sentAt[record.index] ?? performance.now()));
  }

  #closed(code: number): void {
    this.#open = false;
    const lost = new Problem(0, "unreachable", "The connection was lost", `The server closed it with code ${code}.`);
    // Ended before the first picture: then the error says only that there was none.
    const quiet = this.#complete || code === 1000;
    this.#listener.ended(quiet && this.#problem?.code !== "internal_error" ? null : (this.#problem ?? lost));
  }
}
