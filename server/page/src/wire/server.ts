import { drawnFile, type DrawProgress } from "./drawn.ts";
import { Problem } from "./problem.ts";
import { isFields, parseRecord, type ServedModel, type WireRecord } from "./records.ts";

/** Parameters of `POST /detect`, under the same names. */
export interface DetectOptions {
  readonly model?: string;
  readonly mode: string;
  readonly stride: number;
  readonly fill?: "interpolate";
  readonly decode: "strict" | "tolerant";
  readonly tracks?: boolean;
}

/** What not every server can do. */
export interface Features {
  /** Draw the boxes on a video. */
  readonly draws: boolean;
  /** Say which detections are of one object. */
  readonly tracks: boolean;
  /** Answer the frames that a stride leaves out. */
  readonly fills: boolean;
}

export interface ReceivedRecord {
  readonly record: WireRecord;
  /** The line as it was received. */
  readonly line: string;
}

/** The server that this page came from. Every method throws a Problem, or a TypeError if there is no answer. */
export class Server {
  readonly #base: URL;
  #key: Uint8Array<ArrayBuffer> | null = null;

  constructor(base: string) {
    this.#base = new URL(base);
  }

  /** Sent with every later request; held in memory and nowhere else. */
  useKey(key: string): void {
    this.#key = new TextEncoder().encode(key);
  }

  async models(): Promise<readonly ServedModel[]> {
    return (await (await this.#ask("models")).json()) as readonly ServedModel[];
  }

  async features(): Promise<Features> {
    const document: unknown = await (await this.#ask("openapi.json")).json();
    const parameters = inside(document, ["paths", "/detect", "post", "parameters"]);
    const has = (name: string) => Array.isArray(parameters) && parameters.some((each) => inside(each, ["name"]) === name);
    return { draws: inside(document, ["paths", "/draw"]) !== undefined, tracks: has("tracks"), fills: has("fill") };
  }

  /** The packaged sample video. */
  async sample(): Promise<File> {
    const blob = await (await this.#ask("sample.mp4")).blob();
    return new File([blob], "sample.mp4", { type: "video/mp4" });
  }

  /** The records, each as soon as it is final. An `error` record is thrown as a Problem. */
  async *detect(video: File, options: DetectOptions, signal: AbortSignal): AsyncGenerator<ReceivedRecord, void, void> {
    const type = video.type.startsWith("video/") ? video.type : "application/octet-stream";
    const headers = { Accept: "application/x-ndjson", "Content-Type": type };
    const request = { method: "POST", body: video, headers, signal };
    const response = await this.#ask(`detect?${parametersOf(options)}`, request);
    if (!response.body) throw new Error("the answer has no body");
    let last = "";
    for await (const line of linesOf(response.body)) {
      const record = parseRecord(line);
      if (record.type === "error") throw Problem.ofRecord(record);
      last = record.type;
      yield { record, line };
    }
    if (last !== "summary") throw new Problem(0, "incomplete", "The answer is incomplete", "The connection was lost.");
  }

  /** The video as MP4 with the boxes of these records (NDJSON) drawn on it. */
  async drawn(video: File, records: Blob, progress: DrawProgress, signal: AbortSignal): Promise<Blob> {
    const body = new FormData();
    body.append("records", records);
    body.append("file", video);
    const response = await this.#ask("draw", { method: "POST", body, headers: { Accept: "multipart/mixed" }, signal });
    if (!response.body) throw new Error("the answer has no body");
    return drawnFile(response.body, progress);
  }

  /** A new connection to `WS /stream`. */
  stream(): WebSocket {
    const url = new URL("stream", this.#base);
    url.protocol = url.protocol.replace("http", "ws");
    // The only header that a browser lets a page choose for a WebSocket.
    return new WebSocket(url, this.#key ? ["selsa", `selsa-key.${base64url(this.#key)}`] : ["selsa"]);
  }

  async #ask(path: string, request: RequestInit = {}): Promise<Response> {
    const headers = new Headers(request.headers);
    // Byte by byte: browsers read headers as Latin-1, and a key may be any UTF-8.
    if (this.#key) headers.set("X-API-Key", String.fromCharCode(...this.#key));
    const response = await fetch(new URL(path, this.#base), { ...request, headers });
    if (!response.ok) throw await Problem.ofResponse(response);
    return response;
  }
}

function parametersOf(options: DetectOptions): URLSearchParams {
  const parameters = new URLSearchParams({ mode: options.mode, stride: String(options.stride), decode: options.decode });
  if (options.model !== undefined) parameters.set("model", options.model);
  if (options.fill) parameters.set("fill", options.fill);
  if (options.tracks) parameters.set("tracks", "true");
  return parameters;
}

function inside(found: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((at, name) => (isFields(at) ? at[name] : undefined), found);
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The lines of a body as they arrive, without their ends and without empty lines. */
async function* linesOf(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string, void, void> {
  let rest = "";
  for await (const text of textOf(body)) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    yield* lines.filter(Boolean);
  }
  if (rest) yield rest;
}

async function* textOf(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string, void, void> {
  // Not `for await (... of body)`, which Safari does not have.
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
