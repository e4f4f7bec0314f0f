import { element, make, onceAFrame } from "../parts/dom.ts";
import type { Results } from "./results.ts";
import type { Shown } from "../parts/shown.ts";
import type { Tally } from "./tally.ts";
import { plural } from "../parts/words.ts";

interface Row {
  readonly item: HTMLLIElement;
  readonly box: HTMLInputElement;
  readonly count: HTMLElement;
  readonly lane: HTMLCanvasElement;
}

/**
 * A row for each class that was detected, the most frequent first: whether it is shown, how many detections it has,
 * and when. A click goes to that time.
 */
export class Timeline {
  readonly #list = element("rows", HTMLUListElement);
  readonly #note = element("rows-note", HTMLParagraphElement);
  readonly #shown: Shown;
  readonly #seek: (part: number) => void;
  readonly #rows = new Map<number, Row>();
  #results: Results | null = null;

  /** Draws again before the next repaint. */
  readonly update = onceAFrame(() => this.#update());

  constructor(shown: Shown, seek: (part: number) => void) {
    this.#shown = shown;
    this.#seek = seek;
    shown.onChange(this.update);
    new ResizeObserver(this.update).observe(this.#list);
  }

  begin(results: Results | null): void {
    this.#results = results;
    this.#rows.clear();
    this.#list.replaceChildren();
    this.update();
  }

  #update(): void {
    const tallies = this.#results?.tallies ?? new Map<number, Tally>();
    const counts = new Map([...tallies].map(([id, tally]) => [id, tally.count(this.#shown.threshold)]));
    for (const [id, tally] of tallies) {
      // A class that is switched off keeps its row, so that it can be switched on again.
      const wanted = (counts.get(id) ?? 0) > 0 || this.#shown.hidden.has(id);
      const row = this.#rows.get(id) ?? (wanted ? this.#add(id, tally) : null);
      if (!row) continue;
      row.item.hidden = !wanted;
      row.box.checked = !this.#shown.hidden.has(id);
      row.count.textContent = String(counts.get(id) ?? 0);
      if (wanted) this.#draw(row.lane, id, tally);
    }
    this.#sort(counts);
    const below = [...counts.values()].filter((count) => count === 0).length;
    const none = this.#results?.summary && below === counts.size;
    const some = below ? `${plural(below, "more class", "more classes")} with lower scores` : "";
    this.#note.textContent = none ? "No detection has this score. Lower the score to see more." : some;
  }

  /** The most frequent class first, and by id where two are equal. Not under the user's keyboard focus. */
  #sort(counts: ReadonlyMap<number, number>): void {
    if (this.#list.contains(document.activeElement)) return;
    const count = (id: number) => counts.get(id) ?? 0;
    const sorted = [...this.#rows].sort(([a], [b]) => count(b) - count(a) || a - b);
    for (const [at, [, { item }]] of sorted.entries()) {
      if (this.#list.children[at] !== item) this.#list.insertBefore(item, this.#list.children[at] ?? null);
    }
  }

  #add(id: number, tally: Tally): Row {
    const item = make("li", "row");
    const label = make("label", "class");
    const box = make("input");
    box.type = "checkbox";
    box.addEventListener("change", () => this.#shown.show([id], box.checked));
    const swatch = make("span", "swatch");
    swatch.style.backgroundColor = this.#results!.colours.of(id);
    const count = make("span", "number");
    label.append(box, swatch, make("span", "name", tally.name), count);
    const lane = make("canvas");
    lane.addEventListener("pointerdown", (event) => this.#follow(lane, event));
    const track = make("div", "lane");
    track.append(lane);
    item.append(label, track);
    const row = { item, box, count, lane };
    this.#rows.set(id, row);
    this.#list.append(item);
    return row;
  }

  /** Seeks to the pointer as long as it is down. */
  #follow(lane: HTMLCanvasElement, event: PointerEvent): void {
    const seek = ({ clientX }: PointerEvent) => {
      const { left, width } = lane.getBoundingClientRect();
      this.#seek(Math.max(0, Math.min(1, (clientX - left) / width)));
    };
    seek(event);
    lane.setPointerCapture(event.pointerId);
    lane.addEventListener("pointermove", seek);
    lane.addEventListener("lostpointercapture", () => lane.removeEventListener("pointermove", seek), { once: true });
  }

  #draw(lane: HTMLCanvasElement, id: number, tally: Tally): void {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [lane.clientWidth * ratio, lane.clientHeight * ratio].map(Math.round) as [number, number];
    if (lane.width !== width || lane.height !== height) [lane.width, lane.height] = [width, height];
    const context = lane.getContext("2d");
    if (!context) return;
    context.clearRect(0, 0, width, height);
    context.fillStyle = this.#results!.colours.of(id);
    const line = Math.round(1.5 * ratio);
    for (let x = 0; x < width; x++) {
      const score = tally.bestBetween(x / width, (x + 1) / width);
      if (score === 0 || score < this.#shown.threshold) continue;
      // The height is the score.
      const up = Math.max(line, score * height);
      context.globalAlpha = 0.3;
      context.fillRect(x, height - up, 1, up);
      context.globalAlpha = 1;
      context.fillRect(x, height - up, 1, line);
    }
  }
}
