import { Colours } from "../parts/palette.ts";
import { Tally } from "./tally.ts";
import type { Detection, FrameRecord, SummaryRecord, VideoRecord } from "../wire/records.ts";

/** Browsers round the time of a frame to microseconds, containers to a millisecond at most. */
const ROUNDING = 0.001;
const LINES_IN_A_PART = 500;
/** Objects with a row of their own, the first ones of the video: more would be no use in a list. */
const MOST_OBJECTS = 200;

/** One object of the video over its time. */
export interface TrackedObject {
  /** The class of its first detection. */
  readonly classId: number;
  /** Where it begins, as a part of the video. */
  readonly begin: number;
  readonly tally: Tally;
}

/** The records of one video. Numbers are in columns and lines in blobs, so that hours of video fit. */
export class Results {
  readonly video: VideoRecord;
  /** By class id. */
  readonly tallies = new Map<number, Tally>();
  /** By number; only the first `MOST_OBJECTS`. */
  readonly objects = new Map<number, TrackedObject>();
  readonly colours = new Colours();
  summary: SummaryRecord | null = null;

  readonly #stride: number;
  readonly #times = new Column((size) => new Float64Array(size));
  readonly #filled = new Column((size) => new Uint8Array(size));
  readonly #indexes = new Column((size) => new Int32Array(size));
  /** Where the detections of each frame begin. */
  readonly #starts = new Column((size) => new Int32Array(size));
  readonly #classes = new Column((size) => new Int32Array(size));
  /** Track of each detection, 0 where there is none. */
  readonly #tracks = new Column((size) => new Int32Array(size));
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

  /** Width to height as displayed. */
  get aspect(): number {
    const { width, height, sample_aspect_ratio } = this.video;
    const [across, down] = (sample_aspect_ratio ?? "").split(/[:/]/).map(Number);
    return ((across && down ? across / down : 1) * width) / height;
  }

  /** Frames that will have a record, by the count of the container. */
  get expected(): number {
    return this.summary?.emitted ?? Math.ceil((this.video.frame_count ?? 0) / this.#stride);
  }

  /** Seconds at which the first frame is shown; not 0 in every file. */
  get begin(): number {
    return this.frames ? this.timeOf(0) : 0;
  }

  /** Seconds from `begin` to the end. */
  get duration(): number {
    return this.video.duration || Math.max(this.detectedTo - this.begin, this.frameSeconds);
  }

  /** The part of the video that has results, 0 to 1. */
  get detected(): number {
    return this.summary ? 1 : this.partAt(this.detectedTo);
  }

  /** Seconds up to which there are results. */
  get detectedTo(): number {
    return this.frames ? this.timeOf(this.frames - 1) + this.#step : 0;
  }

  /** Which part of the video is over at `seconds`, 0 to 1. */
  partAt(seconds: number): number {
    return Math.max(0, Math.min(1, (seconds - this.begin) / this.duration));
  }

  /** The inverse of `partAt`. */
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

  /** Whether the frame was answered without detecting on it. */
  isFilled(frame: number): boolean {
    return this.#filled.at(frame) > 0;
  }

  /** Which frame is on the screen at `seconds`; -1 where there is no result yet. */
  frameAt(seconds: number): number {
    // Players show the first frame before its time.
    const frame = Math.max(this.#times.countUpTo(seconds + ROUNDING) - 1, Math.min(0, this.frames - 1));
    const isLast = frame === this.frames - 1;
    const over = isLast && !this.summary && seconds + ROUNDING >= this.detectedTo;
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
      found.push({ box: { x1, y1, x2, y2 }, score, class_id, class_name, track_id: this.#tracks.at(at) });
    }
    return found;
  }

  /** All lines as received, the video record first. */
  async *lines(): AsyncGenerator<string, void, void> {
    this.#pack();
    for (const part of this.#parts) yield* (await part.text()).trimEnd().split("\n");
  }

  /** Seconds from one record to the next, on average. */
  get #step(): number {
    return this.#stride * this.frameSeconds;
  }

  #addFrame(record: FrameRecord): void {
    const time = record.time ?? record.index * this.frameSeconds;
    this.#times.push(time);
    this.#indexes.push(record.index);
    this.#filled.push(record.filled ? 1 : 0);
    this.#starts.push(this.#classes.length);
    for (const { box, score, class_id, class_name, track_id } of record.detections) {
      this.#classes.push(class_id);
      this.#tracks.push(track_id ?? 0);
      for (const value of [score, box.x1, box.y1, box.x2, box.y2]) this.#numbers.push(value);
      const [from, to] = [this.partAt(time), this.partAt(time + this.#step)];
      this.#tally(class_id, class_name).add(score, from, to);
      if (track_id) this.#object(track_id, class_id, class_name, from)?.tally.add(score, from, to);
    }
  }

  #tally(id: number, name: string): Tally {
    const known = this.tallies.get(id);
    if (known) return known;
    const made = new Tally(name);
    this.tallies.set(id, made);
    this.colours.ofClass(id);
    return made;
  }

  #object(track: number, classId: number, className: string, begin: number): TrackedObject | null {
    const known = this.objects.get(track);
    if (known || this.objects.size >= MOST_OBJECTS) return known ?? null;
    const made = { classId, begin, tally: new Tally(`${className} #${track}`) };
    this.objects.set(track, made);
    return made;
  }

  #pack(): void {
    if (!this.#lines.length) return;
    this.#parts.push(new Blob([this.#lines.join("\n"), "\n"]));
    this.#lines = [];
  }
}

type Five = [number, number, number, number, number];

/** Numbers in a typed array that grows. A video has millions of them, too many for objects. */
class Column<T extends Float64Array | Float32Array | Int32Array | Uint8Array> {
  readonly #make: (size: number) => T;
  #values: T;
  #length = 0;

  constructor(make: (size: number) => T) {
    this.#make = make;
    this.#values = make(1024);
  }

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const larger = this.#make(2 * this.#length);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#length++] = value;
  }

  at(position: number): number {
    const value = position < this.#length ? this.#values[position] : undefined;
    if (value === undefined) throw new RangeError(`${position} is not below ${this.#length}`);
    return value;
  }

  /** How many of the values, which must not decrease, are at most `value`. */
  countUpTo(value: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.at(middle) <= value) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
