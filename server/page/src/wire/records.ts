// The records that the server sends, as in server/selsa_server/schema. Each is checked on arrival.

export interface Box {
  readonly x1: number;
  readonly y1: number;
  readonly x2: number;
  readonly y2: number;
}

export interface Detection {
  /** Pixels of the upright frame, from the top left; see `sample_aspect_ratio` for their shape. */
  readonly box: Box;
  readonly score: number;
  readonly class_id: number;
  readonly class_name: string;
  /** With tracks: the number of the object, once it is confirmed. */
  readonly track_id?: number | null;
}

export interface VideoRecord {
  readonly type: "video";
  readonly width: number;
  readonly height: number;
  /** Width to height of a pixel, such as 4/3 or 4:3; absent or null: square. */
  readonly sample_aspect_ratio?: string | null;
  readonly frame_count: number | null;
  readonly duration: number | null;
  readonly average_rate: string | null;
  readonly codec: string;
}

export interface FrameRecord {
  readonly type: "frame";
  readonly index: number;
  readonly pts: number | null;
  /** Seconds. */
  readonly time: number | null;
  /** Not detected on: answered along the objects of the frames around it. */
  readonly filled?: boolean;
  readonly detections: readonly Detection[];
}

export interface SummaryRecord {
  readonly type: "summary";
  readonly complete: boolean;
  readonly corrupt: number;
  readonly emitted: number;
  readonly seconds: number;
}

export interface ErrorRecord {
  readonly type: "error";
  readonly code: string;
  readonly status: number;
  readonly title: string;
  readonly detail: string;
}

export type WireRecord = VideoRecord | FrameRecord | SummaryRecord | ErrorRecord;

export interface ServedModel {
  readonly served_as: string;
  /** For people: what it is called, what it is for, and what it is not for. Servers may leave them out. */
  readonly title?: string | null;
  readonly description?: string | null;
  readonly warning?: string | null;
  readonly provider: string;
  readonly precision: string;
  readonly classes: readonly string[];
  readonly long_side: number;
}

type Fields = Readonly<Record<string, unknown>>;

/** Parses one line or message. Throws an Error if it is not a record. */
export function parseRecord(text: string): WireRecord {
  const found: unknown = JSON.parse(text);
  if (isFields(found) && isRecord(found)) return found as unknown as WireRecord;
  throw new Error(`the server sent something that is not a record: ${text.slice(0, 100)}`);
}

function isRecord(found: Fields): boolean {
  switch (found["type"]) {
    case "video":
      return isSize(found["width"]) && isSize(found["height"]) && typeof found["codec"] === "string";
    case "frame":
      return Number.isInteger(found["index"]) && Array.isArray(found["detections"]) && found["detections"].every(isDetection);
    case "summary":
      return Number.isInteger(found["emitted"]) && typeof found["complete"] === "boolean";
    case "error":
      return typeof found["code"] === "string" && typeof found["detail"] === "string";
    default:
      return false;
  }
}

function isDetection(found: unknown): boolean {
  if (!isFields(found) || !isFields(found["box"])) return false;
  const { x1, y1, x2, y2 } = found["box"];
  const numbers = [x1, y1, x2, y2, found["score"]].every(Number.isFinite);
  return numbers && Number.isInteger(found["class_id"]) && typeof found["class_name"] === "string";
}

export function isFields(found: unknown): found is Fields {
  return typeof found === "object" && found !== null;
}

function isSize(found: unknown): boolean {
  return Number.isInteger(found) && (found as number) > 0;
}
