import { Problem } from "./problem.ts";
import { isFields } from "./records.ts";

/** Called with the number of drawn frames, of how many. */
export type DrawProgress = (drawn: number, frames: number) => void;

const NEWLINE = 10;

/**
 * The file in a `multipart/mixed` answer of `POST /draw`: lines of JSON that say how far the drawing is, then the
 * MP4 with its Content-Length. Throws a Problem if the lines end with an error or the file is cut off.
 */
export async function drawnFile(body: ReadableStream<Uint8Array<ArrayBuffer>>, progress: DrawProgress): Promise<Blob> {
  const reader = body.getReader();
  const file: Uint8Array<ArrayBuffer>[] = [];
  let [head, missing] = ["", 0];
  let begun = false;
  const takeLine = (line: string) => {
    if (line.startsWith("{")) tell(JSON.parse(line), progress);
    else if (/^content-length:/i.test(line)) missing = Number(line.slice(line.indexOf(":") + 1));
    else if (!line && missing) begun = true;
  };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      let at = 0;
      while (!begun && at < value.length) {
        const end = value.indexOf(NEWLINE, at);
        head += new TextDecoder().decode(value.subarray(at, end < 0 ? value.length : end));
        at = end < 0 ? value.length : end + 1;
        if (end >= 0) takeLine(head.trimEnd());
        if (end >= 0) head = "";
      }
      const part = value.subarray(at, at + missing);
      if (!begun || !part.length) continue;
      file.push(part);
      missing -= part.length;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
  if (!begun || missing) throw new Problem(0, "incomplete", "The drawn video is incomplete", "The connection was lost.");
  return new Blob(file, { type: "video/mp4" });
}

function tell(found: unknown, progress: DrawProgress): void {
  if (!isFields(found)) return;
  const { type, drawn, frames, status, code, title, detail } = found;
  if (type === "error") throw new Problem(Number(status), String(code), String(title), String(detail));
  if (type === "progress") progress(Number(drawn), Number(frames));
}
