import { make } from "./dom.ts";
import { colourOf } from "./palette.ts";
import type { Detection } from "./wire.ts";
import { plural, scoreText } from "./words.ts";

const MOST = 10;

/** What is in the picture, as text: by score, the best first. `otherwise` is said where there is nothing. */
export function showList(list: HTMLOListElement, detections: readonly Detection[], otherwise: string): void {
  const rows = detections.slice(0, MOST).map(({ class_id, class_name, score }) => {
    const row = make("li");
    const swatch = make("span", "swatch");
    swatch.style.backgroundColor = colourOf(class_id);
    row.append(swatch, make("span", "name", class_name), make("span", "number", scoreText(score)));
    return row;
  });
  const more = detections.length - rows.length;
  if (more > 0) rows.push(make("li", "quiet", `and ${plural(more, "more", "more")}`));
  if (!rows.length) rows.push(make("li", "quiet", otherwise));
  list.replaceChildren(...rows);
}
