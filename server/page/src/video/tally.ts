/** The video's time is divided into this many stretches. */
const STRETCHES = 800;

/** The detections of one class or object over the whole video, in constant space. */
export class Tally {
  readonly name: string;
  /** The best score of each stretch of time, 0 where there is none. */
  readonly #best = new Float32Array(STRETCHES);
  /** Detections by score in hundredths. */
  readonly #byScore = new Uint32Array(101);

  constructor(name: string) {
    this.name = name;
  }

  /** `from` and `to` are parts of the video's duration, 0 to 1. */
  add(score: number, from: number, to: number): void {
    this.#byScore[hundredths(score)]! += 1;
    const [first, end] = stretches(from, to);
    for (let at = first; at < end; at++) this.#best[at] = Math.max(this.#best[at]!, score);
  }

  /** The best score in a part of the video, 0 if there is none. */
  bestBetween(from: number, to: number): number {
    const [first, end] = stretches(from, to);
    return this.#best.subarray(first, end).reduce((best, each) => Math.max(best, each), 0);
  }

  /** Detections with at least this score, a whole number of hundredths. */
  count(threshold: number): number {
    return this.#byScore.subarray(hundredths(threshold)).reduce((sum, each) => sum + each, 0);
  }
}

/** The stretches that a part of the video touches: at least one. */
function stretches(from: number, to: number): [first: number, end: number] {
  const first = Math.min(STRETCHES - 1, Math.max(0, Math.floor(from * STRETCHES + 1e-6)));
  return [first, Math.min(STRETCHES, Math.max(first + 1, Math.ceil(to * STRETCHES - 1e-6)))];
}

/** The largest h with h/100 <= score, both rounded to 32 bits. */
function hundredths(score: number): number {
  const rounded = Math.fround(score);
  let found = Math.min(100, Math.max(0, Math.floor(rounded * 100)));
  while (found < 100 && Math.fround((found + 1) / 100) <= rounded) found++;
  while (found > 0 && Math.fround(found / 100) > rounded) found--;
  return found;
}
