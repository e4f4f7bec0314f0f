/** The step from one class to the next around the circle, so that few classes differ much and many still do. */
const GOLDEN = 0.6180339887;
const LIGHTNESS = [0.76, 0.68, 0.72] as const;

/**
 * The colour of a class, the same in boxes, rows and lists, and of the hue that the server draws it with
 * (`class_colour` in drawing.py). Dark text is legible on all of them.
 */
export function colourOf(classId: number): string {
  const hue = okHue((0.02 + classId * GOLDEN) % 1);
  return `oklch(${LIGHTNESS[classId % 3]} 0.15 ${hue.toFixed(1)})`;
}

/** A hue of HSV, 0 to 1, as one of OKLCH, in degrees. */
function okHue(hue: number): number {
  const channel = (at: number) => Math.min(1, Math.max(0, Math.abs(((hue + at) % 1) * 6 - 3) - 1));
  const [r, g, b] = [channel(0), channel(2 / 3), channel(1 / 3)].map((each) => (0.15 + 0.85 * each) ** 2.2) as Three;
  const l = Math.cbrt(0.4122 * r + 0.5363 * g + 0.0514 * b);
  const m = Math.cbrt(0.2119 * r + 0.6807 * g + 0.1074 * b);
  const s = Math.cbrt(0.0883 * r + 0.2817 * g + 0.63 * b);
  const [red, yellow] = [1.978 * l - 2.4286 * m + 0.4506 * s, 0.0259 * l + 0.7828 * m - 0.8087 * s];
  return ((Math.atan2(yellow, red) * 180) / Math.PI + 360) % 360;
}

type Three = [number, number, number];
