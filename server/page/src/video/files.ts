import type { Shown } from "../parts/shown.ts";
import { parseRecord, type Detection, type FrameRecord } from "../wire/records.ts";
import type { Results } from "./results.ts";

// The columns of `selsa detect --format csv`.
const HEADER = "index,pts,time,x1,y1,x2,y2,score,class_id,class_name,track_id";

/** The shown detections as the document that `POST /detect` gives; its summary is null if it is incomplete. */
export async function jsonFile(results: Results, shown: Shown): Promise<Blob> {
  const parts: string[] = [];
  let [before, summary] = ["", "null"];
  for await (const { record, line } of shownRecords(results, shown)) {
    if (record.type === "video") parts.push(`{"video":${line},"frames":[`);
    else if (record.type === "summary") summary = line;
    else if (record.type === "frame") {
      parts.push(before + line);
      before = ",\n";
    }
  }
  parts.push(`],"summary":${summary}}\n`);
  return new Blob(parts, { type: "application/json" });
}

/** The shown detections, one per line. */
export async function csvFile(results: Results, shown: Shown): Promise<Blob> {
  const parts = [`${HEADER}\r\n`];
  for await (const { record } of shownRecords(results, shown)) {
    if (record.type === "frame") parts.push(...record.detections.map((each) => csvLine(record, each)));
  }
  return new Blob(parts, { type: "text/csv" });
}

/** The records with the shown detections, one per line. */
export async function recordsFile(results: Results, shown: Shown): Promise<Blob> {
  const parts: string[] = [];
  for await (const { line } of shownRecords(results, shown)) parts.push(line, "\n");
  return new Blob(parts, { type: "application/x-ndjson" });
}

async function* shownRecords(results: Results, shown: Shown) {
  for await (const line of results.lines()) {
    const record = parseRecord(line);
    if (record.type !== "frame") {
      yield { record, line };
      continue;
    }
    const detections = record.detections.filter((each) => shown.has(each));
    const frame = { ...record, detections };
    yield { record: frame, line: JSON.stringify(frame) };
  }
}

/** Gives the browser a file to save. */
export function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // By then the browser has started to read it.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function csvLine({ index, pts, time }: FrameRecord, found: Detection): string {
  const { box, class_id, class_name, score, track_id } = found;
  const corners = [box.x1, box.y1, box.x2, box.y2];
  const cells = [index, pts ?? "", time ?? "", ...corners, score, class_id, quoted(class_name), track_id || ""];
  return `${cells.join(",")}\r\n`;
}

function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
