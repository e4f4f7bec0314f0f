/** Which detections are shown: a lowest score, and classes that were taken out. Tells whoever asked of changes. */
export class Shown {
  readonly #listeners: (() => void)[] = [];
  readonly #hidden = new Set<number>();
  #threshold: number;

  constructor(threshold: number) {
    this.#threshold = Math.fround(threshold);
  }

  /** Rounded to 32 bits, as scores are: the server compares these, and 0.7 is to pass 0.7. */
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
