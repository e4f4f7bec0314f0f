import { isFields, type ErrorRecord } from "./records.ts";

/** An error that the server described (RFC 9457), or one of the connection, in the same form. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  /** Seconds after which the server asks for the request again. */
  readonly retryAfter: number | null;

  constructor(status: number, code: string, title: string, detail: string, retryAfter: number | null = null) {
    super(`${title}: ${detail}`);
    this.status = status;
    this.code = code;
    this.title = title;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }

  static async ofResponse(response: Response): Promise<Problem> {
    // A proxy may answer with a page of its own.
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
      Number(response.headers.get("Retry-After")) || null,
    );
  }

  /** Whether the server has no room now and may have some later. */
  get isBusy(): boolean {
    return this.status === 503 || this.status === 429;
  }

  static ofRecord(record: ErrorRecord): Problem {
    return new Problem(record.status, record.code, record.title, record.detail);
  }

  /** Any thrown value as a Problem. */
  static of(thrown: unknown): Problem {
    if (thrown instanceof Problem) return thrown;
    if (thrown instanceof TypeError) {
      const detail = "It is not running, it refused the upload, or the file cannot be read.";
      return new Problem(0, "unreachable", "The server did not answer", detail);
    }
    const detail = thrown instanceof Error ? thrown.message : String(thrown);
    return new Problem(0, "unknown", "Something went wrong", detail);
  }
}

/** Whether this was thrown by a cancelled request. */
export function isAbort(thrown: unknown): boolean {
  return thrown instanceof DOMException && thrown.name === "AbortError";
}
