import type { Detection } from "../wire/records.ts";

/** Which detections are shown: those with a lowest score, without the classes and objects that are switched off. */
export class Shown {
  readonly #listeners: (() => void)[] = [];
  readonly #hidden = new Set<number>();
  readonly #hiddenObjects = new Set<number>();
  #followed = 0;
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

  /** Numbers of the objects that are switched off. */
  get hiddenObjects(): ReadonlySet<number> {
    return this.#hiddenObjects;
  }

  showObject(track: number, visible: boolean): void {
    if (visible) this.#hiddenObjects.delete(track);
    else this.#hiddenObjects.add(track);
    this.#tell();
  }

  /** The number of the only object that is shown; 0: there is no such object. */
  get followed(): number {
    return this.#followed;
  }

  set followed(track: number) {
    this.#followed = track;
    this.#tell();
  }

  /** Show all objects again: other results give other numbers. */
  resetObjects(): void {
    this.#hiddenObjects.clear();
    this.followed = 0;
  }

  /** Show all classes and objects again; the score stays. */
  reset(): void {
    this.resetObjects();
    this.show([...this.#hidden], true);
  }

  has({ class_id, score, track_id }: Pick<Detection, "class_id" | "score" | "track_id">): boolean {
    if (Math.fround(score) < this.#threshold) return false;
    if (this.#followed) return track_id === this.#followed;
    return !this.#hidden.has(class_id) && !this.#hiddenObjects.has(track_id ?? 0);
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
