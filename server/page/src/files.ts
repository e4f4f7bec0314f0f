import type { Results } from "./results.ts";
import type { Shown } from "./shown.ts";
import { parseRecord, type Detection, type FrameRecord } from "./wire.ts";

// The columns of `selsa detect --format csv`.
const HEADER = "index,pts,time,x1,y1,x2,y2,score,class_id,class_name";

/** What is shown, as the document that `POST /detect` gives; without a summary if it is incomplete. */
export async function jsonFile(results: Results, shown: Shown): Promise<Blob> {
  const parts: string[] = [];
  let [before, summary] = ["", "null"];
  for await (const line of results.lines()) {
    const record = parseRecord(line);
    if (record.type === "video") parts.push(`{"video":${line},"frames":[`);
    else if (record.type === "summary") summary = line;
    else if (record.type === "frame") {
      const detections = record.detections.filter((each) => shown.has(each.class_id, each.score));
      parts.push(before + JSON.stringify({ ...record, detections }));
      before = ",\n";
    }
  }
  parts.push(`],"summary":${summary}}\n`);
  return new Blob(parts, { type: "application/json" });
}

/** What is shown, a line for each detection. */
export async function csvFile(results: Results, shown: Shown): Promise<Blob> {
  const parts = [`${HEADER}\r\n`];
  for await (const line of results.lines()) {
    const record = parseRecord(line);
    if (record.type !== "frame") continue;
    const found = record.detections.filter((each) => shown.has(each.class_id, each.score));
    parts.push(...found.map((each) => csvLine(record, each)));
  }
  return new Blob(parts, { type: "text/csv" });
}

/** Gives the browser a file to save. */
export function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function csvLine({ index, pts, time }: FrameRecord, { box, class_id, class_name, score }: Detection): string {
  const cells = [index, pts ?? "", time ?? "", box.x1, box.y1, box.x2, box.y2, score, class_id, quoted(class_name)];
  return `${cells.join(",")}\r\n`;
}

function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
