/** A rectangle in CSS pixels. */
export interface Area {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** How many label heights a label may be moved away from its box. */
const FARTHEST = 3;

/**
 * Where the labels of boxes go: above the box, inside it or below it, moved up or down where others are. No two
 * overlap and all are within `picture`. The first ones have the first choice; null: there is no room for this one.
 */
export function placeLabels(
  labels: readonly { readonly box: Area; readonly width: number; readonly height: number }[],
  picture: Area,
): (Area | null)[] {
  const taken: Area[] = [];
  return labels.map(({ box, width, height }) => {
    const place = choices(box, width, height)
      .map(({ x, y }) => ({ x: clamp(x, picture.x, picture.x + picture.width - width), y, width, height }))
      .find((choice) => isWithin(choice, picture) && !taken.some((other) => overlap(choice, other)));
    if (place) taken.push(place);
    return place ?? null;
  });
}

function choices(box: Area, width: number, height: number): { x: number; y: number }[] {
  const [left, right] = [box.x - 1, box.x + box.width + 1 - width];
  const [above, inside, below] = [box.y - height, box.y, box.y + box.height];
  const near = [above, inside, below, below - height].flatMap((y) => [{ x: left, y }, { x: right, y }]);
  const steps = Array.from({ length: FARTHEST }, (_, step) => (step + 1) * height);
  return [...near, ...steps.flatMap((step) => [{ x: left, y: above - step }, { x: left, y: inside + step }])];
}

function isWithin(place: Area, picture: Area): boolean {
  return place.y >= picture.y && place.y + place.height <= picture.y + picture.height && place.width <= picture.width;
}

function overlap(a: Area, b: Area): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(value, high));
}
