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
  readonly follow: HTMLButtonElement | null;
}

/** What has a row: a class, or an object of it. */
interface Entry {
  readonly classId: number;
  /** The number of the object; 0: the class. */
  readonly track: number;
  readonly tally: Tally;
  readonly count: number;
}

/**
 * A row for each class that was detected, the most frequent first, and below it one for each of its objects that has
 * a number: whether it is shown, how many detections it has, and when. A click goes to that time. Following an object
 * shows only it, from its first frame.
 */
export class Timeline {
  readonly #list = element("rows", HTMLUListElement);
  readonly #note = element("rows-note", HTMLParagraphElement);
  readonly #shown: Shown;
  readonly #seek: (part: number) => void;
  /** By class id, and by the negative number of an object. */
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
    const entries = this.#results ? this.#entries(this.#results) : [];
    for (const entry of entries) {
      // What is switched off keeps its row, so that it can be switched on again.
      const on = this.#isOn(entry);
      const wanted = entry.count > 0 || !on;
      const row = this.#rows.get(keyOf(entry)) ?? (wanted ? this.#add(entry) : null);
      if (!row) continue;
      row.item.hidden = !wanted;
      row.box.checked = on;
      row.follow?.setAttribute("aria-pressed", String(this.#shown.followed === entry.track));
      row.count.textContent = String(entry.count);
      if (wanted) this.#draw(row.lane, entry);
    }
    this.#sort(entries);
    const classes = entries.filter(({ track }) => !track);
    const below = classes.filter(({ count }) => count === 0).length;
    const none = this.#results?.summary && below === classes.length;
    const some = below ? `${plural(below, "more class", "more classes")} with lower scores` : "";
    this.#note.textContent = none ? "No detection has this score. Lower the score to see more." : some;
  }

  /** The most frequent class first, by id where two are equal, each with its objects by their numbers. */
  #entries({ tallies, objects }: Results): Entry[] {
    const count = (tally: Tally) => tally.count(this.#shown.threshold);
    const classes = [...tallies].map(([classId, tally]) => ({ classId, track: 0, tally, count: count(tally) }));
    classes.sort((a, b) => b.count - a.count || a.classId - b.classId);
    const tracks = [...objects].sort(([a], [b]) => a - b);
    return classes.flatMap((entry) => {
      const own = tracks.filter(([, { classId }]) => classId === entry.classId);
      return [entry, ...own.map(([track, { classId, tally }]) => ({ classId, track, tally, count: count(tally) }))];
    });
  }

  #isOn({ classId, track }: Entry): boolean {
    return track ? !this.#shown.hiddenObjects.has(track) : !this.#shown.hidden.has(classId);
  }

  /** In the order of the entries. Not under the user's keyboard focus. */
  #sort(entries: readonly Entry[]): void {
    if (this.#list.contains(document.activeElement)) return;
    const items = entries.flatMap((entry) => this.#rows.get(keyOf(entry))?.item ?? []);
    for (const [at, item] of items.entries()) {
      if (this.#list.children[at] !== item) this.#list.insertBefore(item, this.#list.children[at] ?? null);
    }
  }

  #add(entry: Entry): Row {
    const { classId, track, tally } = entry;
    const item = make("li", track ? "row object" : "row");
    const label = make("label", "class");
    const box = make("input");
    box.type = "checkbox";
    box.addEventListener("change", () => {
      if (track) this.#shown.showObject(track, box.checked);
      else this.#shown.show([classId], box.checked);
    });
    const swatch = make("span", "swatch");
    swatch.style.backgroundColor = this.#colourOf(entry);
    const count = make("span", "number");
    label.append(box, swatch, make("span", "name", tally.name), count);
    const head = make("div", "head");
    head.append(label);
    const follow = track ? this.#followButton(entry) : null;
    if (follow) head.append(follow);
    const lane = make("canvas");
    lane.addEventListener("pointerdown", (event) => this.#follow(lane, event));
    const line = make("div", "lane");
    line.append(lane);
    item.append(head, line);
    const row = { item, box, count, lane, follow };
    this.#rows.set(keyOf(entry), row);
    this.#list.append(item);
    return row;
  }

  #followButton({ track, tally }: Entry): HTMLButtonElement {
    const button = make("button", "plain", "Follow");
    button.type = "button";
    button.title = `Show only ${tally.name}, from its first frame`;
    button.addEventListener("click", () => {
      const starts = this.#shown.followed !== track;
      this.#shown.followed = starts ? track : 0;
      if (starts) this.#seek(this.#results!.objects.get(track)!.begin);
    });
    return button;
  }

  #colourOf({ classId, track }: Entry): string {
    return this.#results!.colours.of({ class_id: classId, track_id: track });
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

  #draw(lane: HTMLCanvasElement, entry: Entry): void {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [lane.clientWidth * ratio, lane.clientHeight * ratio].map(Math.round) as [number, number];
    if (lane.width !== width || lane.height !== height) [lane.width, lane.height] = [width, height];
    const context = lane.getContext("2d");
    if (!context) return;
    context.clearRect(0, 0, width, height);
    context.fillStyle = this.#colourOf(entry);
    const line = Math.round(1.5 * ratio);
    for (let x = 0; x < width; x++) {
      const score = entry.tally.bestBetween(x / width, (x + 1) / width);
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

function keyOf({ classId, track }: Entry): number {
  return track ? -track : classId;
}
