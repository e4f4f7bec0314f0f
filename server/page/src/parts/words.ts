import type { Detection } from "../wire/records.ts";

/** Seconds as `1:02.35`, with hours if it has any. */
export function clockTime(seconds: number): string {
  const hundredths = Math.max(0, Math.round(seconds * 100));
  const hours = Math.floor(hundredths / 360_000);
  const minutes = Math.floor(hundredths / 6000) % 60;
  const rest = ((hundredths % 6000) / 100).toFixed(2).padStart(5, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** A duration, rounded. */
export function roughly(seconds: number): string {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export function bytes(count: number): string {
  if (count < 1000) return `${count} bytes`;
  const power = Math.min(3, Math.floor(Math.log10(count) / 3));
  return `${(count / 1000 ** power).toFixed(count / 1000 ** power < 10 ? 1 : 0)} ${["", "kB", "MB", "GB"][power]}`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** A score with the two digits that the slider has. Rounded down: 0.999 is not 1. */
export function scoreText(score: number): string {
  return (Math.floor(score * 100 + 1e-4) / 100).toFixed(2);
}

/** The class of a detection, with the number of its track if it has one. */
export function nameOf({ class_name, track_id }: Detection): string {
  return track_id ? `${class_name} #${track_id}` : class_name;
}
