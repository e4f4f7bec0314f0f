import { element } from "./dom.ts";
import type { DetectOptions } from "./server.ts";
import type { ServedModel } from "./wire.ts";

/** Ways in for a video: dropped anywhere on the page, chosen, or the sample. And how to detect on it. */
export class Intake {
  readonly #model = element("model-choice", HTMLSelectElement);
  readonly #mode = element("mode", HTMLSelectElement);
  readonly #stride = element("stride", HTMLInputElement);
  readonly #tolerant = element("tolerant", HTMLInputElement);

  constructor(take: (file: File) => void, takeSample: () => void) {
    const input = element("file", HTMLInputElement);
    element("choose", HTMLButtonElement).addEventListener("click", () => input.click());
    element("sample", HTMLButtonElement).addEventListener("click", takeSample);
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      // So that the same file can be chosen again.
      input.value = "";
      if (file) take(file);
    });
    acceptDrops(take);
  }

  offer(models: readonly ServedModel[]): void {
    const options = models.map(({ served_as }) => new Option(served_as, served_as));
    this.#model.replaceChildren(...options);
    element("model-field", HTMLElement).hidden = models.length < 2;
  }

  goOnAfterDamage(): void {
    this.#tolerant.checked = true;
  }

  get options(): DetectOptions {
    const stride = Math.max(1, Math.min(100_000, Math.round(this.#stride.valueAsNumber) || 1));
    const decode = this.#tolerant.checked ? "tolerant" : "strict";
    const model = this.#model.options.length > 1 ? { model: this.#model.value } : {};
    return { ...model, mode: this.#mode.value, stride, decode };
  }
}

function acceptDrops(take: (file: File) => void): void {
  const root = document.documentElement;
  const carriesFile = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  document.addEventListener("dragover", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    root.dataset["dragging"] = "true";
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) delete root.dataset["dragging"];
  });
  document.addEventListener("drop", (event) => {
    delete root.dataset["dragging"];
    if (!carriesFile(event)) return;
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file) take(file);
  });
}
