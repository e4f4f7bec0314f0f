import type { Detection } from "../wire/records.ts";

/**
 * Chosen so that any two differ by at least 0.1 in OKLab, also as people with protanopia and deuteranopia see them
 * (tests/page/test_page_boxes.py computes it), and so that dark text is legible on each. In this order every
 * colour is as far as possible from those before it.
 */
const PALETTE = ["#fca800", "#9060fc", "#6ccce4", "#f02478", "#4890b4", "#fc540c", "#e49c90", "#60a8fc"] as const;

/**
 * The colours of one video's detections. The first eight classes that are asked for have eight colours; an object
 * with a number has a colour of its own.
 */
export class Colours {
  readonly #places = new Map<number, number>();

  of({ class_id, track_id }: Pick<Detection, "class_id" | "track_id">): string {
    return track_id ? PALETTE[(track_id - 1) % PALETTE.length]! : this.ofClass(class_id);
  }

  ofClass(classId: number): string {
    const place = this.#places.get(classId) ?? this.#assign(classId);
    return PALETTE[place]!;
  }

  /** The colour that a class has in most videos, or the next free one. */
  #assign(classId: number): number {
    const taken = new Set(this.#places.values());
    const choices = PALETTE.map((_, by) => (classId + by) % PALETTE.length);
    const place = choices.find((choice) => !taken.has(choice)) ?? choices[0]!;
    this.#places.set(classId, place);
    return place;
  }
}
