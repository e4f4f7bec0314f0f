import { make } from "./dom.ts";
import type { Colours } from "./palette.ts";
import type { Detection } from "../wire/records.ts";
import { nameOf, plural, scoreText } from "./words.ts";

const MOST = 10;

/** The detections of a picture as text, the best score first; `otherwise` where there are none; `filled` frames say so. */
export function showList(
  list: HTMLOListElement,
  detections: readonly Detection[],
  colours: Colours,
  otherwise: string,
  filled = false,
): void {
  const rows = detections.slice(0, MOST).map((each) => {
    const row = make("li");
    const swatch = make("span", "swatch");
    swatch.style.backgroundColor = colours.of(each);
    row.append(swatch, make("span", "name", nameOf(each)));
    if (filled) row.append(make("span", "quiet", "filled"));
    row.append(make("span", "number", scoreText(each.score)));
    return row;
  });
  const more = detections.length - rows.length;
  if (more > 0) rows.push(make("li", "quiet", `and ${plural(more, "more", "more")}`));
  if (!rows.length) rows.push(make("li", "quiet", otherwise));
  list.replaceChildren(...rows);
}
