import { linesOf } from "./lines.ts";
import { Problem } from "./problem.ts";
import { isFields, parseRecord, type ServedModel, type WireRecord } from "./wire.ts";

/** Parameters of `POST /detect`, by its names. */
export interface DetectOptions {
  readonly model?: string;
  readonly mode: string;
  readonly stride: number;
  readonly decode: "strict" | "tolerant";
}

export interface ReceivedRecord {
  readonly record: WireRecord;
  /** As it came. */
  readonly line: string;
}

/** The server that this page came from. Every method throws a Problem, or a TypeError if there is no answer. */
export class Server {
  readonly #base: URL;
  #key: Uint8Array<ArrayBuffer> | null = null;

  constructor(base: string) {
    this.#base = new URL(base);
  }

  /** Sent with everything from now on; held in memory and nowhere else. */
  useKey(key: string): void {
    this.#key = new TextEncoder().encode(key);
  }

  async models(): Promise<readonly ServedModel[]> {
    return (await (await this.#ask("models")).json()) as readonly ServedModel[];
  }

  /** Whether it can send a video back with the boxes drawn. */
  async drawsVideos(): Promise<boolean> {
    const document: unknown = await (await this.#ask("openapi.json")).json();
    const path = ["paths", "/detect", "post", "responses", "200", "content", "video/mp4"];
    return path.reduce<unknown>((at, name) => (isFields(at) ? at[name] : undefined), document) !== undefined;
  }

  /** The sample video of the package. */
  async sample(): Promise<File> {
    const blob = await (await this.#ask("sample.mp4")).blob();
    return new File([blob], "sample.mp4", { type: "video/mp4" });
  }

  /** Records while they become final. Ends without an `error` record: that is thrown. */
  async *detect(video: File, options: DetectOptions, signal: AbortSignal): AsyncGenerator<ReceivedRecord, void, void> {
    const response = await this.#send(video, parametersOf(options), "application/x-ndjson", signal);
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

  /** The video as MP4 with boxes, of what passes `scoreThreshold` and is of these classes (all if null). */
  async drawn(
    video: File,
    options: DetectOptions,
    shown: { readonly scoreThreshold: number; readonly classes: readonly string[] | null },
    signal: AbortSignal,
  ): Promise<Blob> {
    const parameters = parametersOf(options);
    parameters.set("score_threshold", String(shown.scoreThreshold));
    for (const name of shown.classes ?? []) parameters.append("classes", name);
    return (await this.#send(video, parameters, "video/mp4", signal)).blob();
  }

  /** A new connection to `WS /stream`. */
  stream(): WebSocket {
    const url = new URL("stream", this.#base);
    url.protocol = url.protocol.replace("http", "ws");
    // The only header that a browser lets a page choose for a WebSocket.
    return new WebSocket(url, this.#key ? ["selsa", `selsa-key.${base64url(this.#key)}`] : ["selsa"]);
  }

  #send(video: File, parameters: URLSearchParams, accept: string, signal: AbortSignal): Promise<Response> {
    const type = video.type.startsWith("video/") ? video.type : "application/octet-stream";
    const headers = { Accept: accept, "Content-Type": type };
    return this.#ask(`detect?${parameters}`, { method: "POST", body: video, headers, signal });
  }

  async #ask(path: string, request: RequestInit = {}): Promise<Response> {
    const headers = new Headers(request.headers);
    // Bytes as they are: a header is Latin-1 to a browser, and a key may be any UTF-8.
    if (this.#key) headers.set("X-API-Key", String.fromCharCode(...this.#key));
    const response = await fetch(new URL(path, this.#base), { ...request, headers });
    if (!response.ok) throw await Problem.ofResponse(response);
    return response;
  }
}

function parametersOf(options: DetectOptions): URLSearchParams {
  const parameters = new URLSearchParams({ mode: options.mode, stride: String(options.stride), decode: options.decode });
  if (options.model !== undefined) parameters.set("model", options.model);
  return parameters;
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
