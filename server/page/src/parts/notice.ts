import { element } from "./dom.ts";
import type { Problem } from "../wire/problem.ts";

export interface Remedy {
  readonly label: string;
  act(): void;
}

/** Shows errors, with a button for what can be done about them. */
export class Notice {
  readonly #box = element("notice", HTMLElement);
  readonly #title = element("notice-title", HTMLElement);
  readonly #detail = element("notice-detail", HTMLElement);
  readonly #act = element("notice-act", HTMLButtonElement);
  #remedy: Remedy | null = null;

  constructor() {
    element("notice-close", HTMLButtonElement).addEventListener("click", () => this.clear());
    this.#act.addEventListener("click", () => {
      const remedy = this.#remedy;
      this.clear();
      remedy?.act();
    });
  }

  tell(problem: Problem, remedy: Remedy | null = null): void {
    this.#title.textContent = problem.title;
    this.#detail.textContent = problem.detail;
    this.#remedy = remedy;
    this.#act.hidden = !remedy;
    this.#act.textContent = remedy?.label ?? "";
    this.#box.hidden = false;
    this.#box.scrollIntoView({ block: "nearest" });
  }

  clear(): void {
    this.#box.hidden = true;
    this.#remedy = null;
  }
}
