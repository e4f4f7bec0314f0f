import { Column } from "./column.ts";
import { Tally } from "./tally.ts";
import type { Detection, FrameRecord, SummaryRecord, VideoRecord } from "./wire.ts";

/** Browsers round the time of a frame to microseconds, containers to a millisecond at most. */
const ROUNDING = 0.001;
const LINES_IN_A_PART = 500;

/** The records of one video, held so that hours of it fit: numbers in columns, lines in blobs. */
export class Results {
  readonly video: VideoRecord;
  /** By class id, in the order of ids. */
  readonly tallies = new Map<number, Tally>();
  summary: SummaryRecord | null = null;

  readonly #stride: number;
  readonly #times = new Column((size) => new Float64Array(size));
  readonly #indexes = new Column((size) => new Int32Array(size));
  /** Where the detections of each frame begin. */
  readonly #starts = new Column((size) => new Int32Array(size));
  readonly #classes = new Column((size) => new Int32Array(size));
  /** Score, x1, y1, x2, y2 of each detection. */
  readonly #numbers = new Column((size) => new Float32Array(size));
  readonly #parts: Blob[] = [];
  #lines: string[] = [];

  constructor(video: VideoRecord, line: string, stride: number) {
    this.video = video;
    this.#stride = stride;
    this.#lines.push(line);
  }

  get frames(): number {
    return this.#times.length;
  }

  /** Seconds from one frame of the source to the next, on average. */
  get frameSeconds(): number {
    const [count, seconds] = (this.video.average_rate ?? "").split("/").map(Number);
    return count && seconds ? seconds / count : 1 / 25;
  }

  /** Frames that will have a record, if the container's count is right. */
  get expected(): number {
    return this.summary?.emitted ?? Math.ceil((this.video.frame_count ?? 0) / this.#stride);
  }

  /** Seconds at which the first frame is shown: not 0 in every file. */
  get begin(): number {
    return this.frames ? this.timeOf(0) : 0;
  }

  /** Seconds from there to the end. */
  get duration(): number {
    return this.video.duration || Math.max(this.#detectedTo - this.begin, this.frameSeconds);
  }

  /** How much of the video has its detections, 0 to 1. */
  get detected(): number {
    return this.summary ? 1 : this.partAt(this.#detectedTo);
  }

  /** Which part of the video is over at `seconds`, 0 to 1. */
  partAt(seconds: number): number {
    return Math.max(0, Math.min(1, (seconds - this.begin) / this.duration));
  }

  /** The other way round. */
  secondsAt(part: number): number {
    return this.begin + part * this.duration;
  }

  add(record: FrameRecord | SummaryRecord, line: string): void {
    this.#lines.push(line);
    if (this.#lines.length >= LINES_IN_A_PART) this.#pack();
    if (record.type === "summary") this.summary = record;
    else this.#addFrame(record);
  }

  /** Seconds from the source. */
  timeOf(frame: number): number {
    return this.#times.at(frame);
  }

  /** The index in the source. */
  indexOf(frame: number): number {
    return this.#indexes.at(frame);
  }

  /** Which frame is on the screen at `seconds`; -1 where no frame has been detected on. */
  frameAt(seconds: number): number {
    // Before the first one is due, players show that one already.
    const frame = Math.max(this.#times.countUpTo(seconds + ROUNDING) - 1, Math.min(0, this.frames - 1));
    const isLast = frame === this.frames - 1;
    const over = isLast && !this.summary && seconds + ROUNDING >= this.#detectedTo;
    return over ? -1 : frame;
  }

  /** The detections of a frame, by score descending. */
  detectionsOf(frame: number): Detection[] {
    const end = frame + 1 < this.frames ? this.#starts.at(frame + 1) : this.#classes.length;
    const found: Detection[] = [];
    for (let at = this.#starts.at(frame); at < end; at++) {
      const [score, x1, y1, x2, y2] = [0, 1, 2, 3, 4].map((i) => this.#numbers.at(5 * at + i)) as Five;
      const class_id = this.#classes.at(at);
      const class_name = this.tallies.get(class_id)?.name ?? "";
      found.push({ box: { x1, y1, x2, y2 }, score, class_id, class_name });
    }
    return found;
  }

  /** All lines as they came, first the video's. */
  async *lines(): AsyncGenerator<string, void, void> {
    this.#pack();
    for (const part of this.#parts) yield* (await part.text()).trimEnd().split("\n");
  }

  get #detectedTo(): number {
    return this.frames ? this.timeOf(this.frames - 1) + this.#step : 0;
  }

  /** Seconds from one frame that is detected on to the next, on average. */
  get #step(): number {
    return this.#stride * this.frameSeconds;
  }

  #addFrame(record: FrameRecord): void {
    const time = record.time ?? record.index * this.frameSeconds;
    this.#times.push(time);
    this.#indexes.push(record.index);
    this.#starts.push(this.#classes.length);
    for (const { box, score, class_id, class_name } of record.detections) {
      this.#classes.push(class_id);
      for (const value of [score, box.x1, box.y1, box.x2, box.y2]) this.#numbers.push(value);
      this.#tally(class_id, class_name).add(score, this.partAt(time), this.partAt(time + this.#step));
    }
  }

  #tally(id: number, name: string): Tally {
    const known = this.tallies.get(id);
    if (known) return known;
    const made = new Tally(name);
    this.tallies.set(id, made);
    const sorted = [...this.tallies].sort(([a], [b]) => a - b);
    this.tallies.clear();
    for (const [each, tally] of sorted) this.tallies.set(each, tally);
    return made;
  }

  #pack(): void {
    if (!this.#lines.length) return;
    this.#parts.push(new Blob([this.#lines.join("\n"), "\n"]));
    this.#lines = [];
  }
}

type Five = [number, number, number, number, number];
