/** Which detections are shown: those with a lowest score, without the classes that are switched off. */
export class Shown {
  readonly #listeners: (() => void)[] = [];
  readonly #hidden = new Set<number>();
  #threshold: number;

  constructor(threshold: number) {
    this.#threshold = Math.fround(threshold);
  }

  /** Rounded to 32 bits, as the server rounds scores, so that a score of 0.7 passes a threshold of 0.7. */
  get threshold(): number {
    return this.#threshold;
  }

  set threshold(value: number) {
    this.#threshold = Math.fround(value);
    this.#tell();
  }

  get hidden(): ReadonlySet<number> {
    return this.#hidden;
  }

  show(classes: Iterable<number>, visible: boolean): void {
    for (const id of classes) {
      if (visible) this.#hidden.delete(id);
      else this.#hidden.add(id);
    }
    this.#tell();
  }

  /** Show all classes again; the score stays. */
  reset(): void {
    this.show([...this.#hidden], true);
  }

  has(classId: number, score: number): boolean {
    return Math.fround(score) >= this.#threshold && !this.#hidden.has(classId);
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
