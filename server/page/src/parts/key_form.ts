import { element } from "./dom.ts";
import { Problem } from "../wire/problem.ts";
import type { Server } from "../wire/server.ts";

/** Asks for an API key when the server requires one. */
export class KeyForm {
  readonly #form = element("key", HTMLFormElement);
  readonly #value = element("key-value", HTMLInputElement);
  readonly #wrong = element("key-wrong", HTMLElement);
  #then: (() => void) | null = null;

  constructor(server: Server) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      server.useKey(this.#value.value.trim());
      this.#value.value = "";
      this.#form.hidden = true;
      this.#then?.();
    });
  }

  /** If the problem is a missing or wrong key: ask for one, then do `again`. Otherwise false. */
  handles(problem: Problem, again: () => void): boolean {
    if (problem.status !== 401) return false;
    this.#wrong.textContent = this.#then ? "That is not a valid key." : "";
    this.#then = again;
    this.#form.hidden = false;
    this.#value.focus();
    return true;
  }
}
