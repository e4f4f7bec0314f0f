import { isFields, type ErrorRecord } from "./wire.ts";

/** An error that the server described (RFC 9457), or one that kept it from answering, in the same words. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly detail: string;

  constructor(status: number, code: string, title: string, detail: string) {
    super(`${title}: ${detail}`);
    this.status = status;
    this.code = code;
    this.title = title;
    this.detail = detail;
  }

  static async ofResponse(response: Response): Promise<Problem> {
    // A proxy in between answers with pages of its own.
    const body: unknown = await response.json().catch(() => null);
    const fields = isFields(body) ? body : {};
    const text = (name: string, otherwise: string) => {
      const found = fields[name];
      return typeof found === "string" ? found : otherwise;
    };
    return new Problem(
      response.status,
      text("code", "unknown"),
      text("title", `The server answered ${response.status}`),
      text("detail", response.statusText),
    );
  }

  static ofRecord(record: ErrorRecord): Problem {
    return new Problem(record.status, record.code, record.title, record.detail);
  }

  /** Whatever was thrown, for showing it. */
  static of(thrown: unknown): Problem {
    if (thrown instanceof Problem) return thrown;
    if (thrown instanceof TypeError) {
      const detail = "It does not run any more, it refused the upload, or the file cannot be read.";
      return new Problem(0, "unreachable", "The server did not answer", detail);
    }
    const detail = thrown instanceof Error ? thrown.message : String(thrown);
    return new Problem(0, "unknown", "Something went wrong", detail);
  }
}

/** Whether this was thrown because somebody cancelled. */
export function isAbort(thrown: unknown): boolean {
  return thrown instanceof DOMException && thrown.name === "AbortError";
}
