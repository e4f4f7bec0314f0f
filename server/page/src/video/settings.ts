import { element } from "../parts/dom.ts";
import { modelName } from "../parts/model_card.ts";
import type { ServedModel } from "../wire/records.ts";
import type { DetectOptions, Features } from "../wire/server.ts";

/** How videos are detected on. */
export class Settings {
  readonly #model = element("model-choice", HTMLSelectElement);
  readonly #mode = element("mode", HTMLSelectElement);
  readonly #stride = element("stride", HTMLInputElement);
  readonly #fill = element("fill", HTMLInputElement);
  readonly #tracks = element("tracks", HTMLInputElement);
  readonly #tolerant = element("tolerant", HTMLInputElement);
  readonly #again = element("again", HTMLButtonElement);
  #used: DetectOptions | null = null;

  /** `again`: detect on the shown video with the settings of now. */
  constructor(again: () => void) {
    this.#again.addEventListener("click", again);
    for (const field of [this.#model, this.#mode, this.#stride, this.#fill, this.#tracks, this.#tolerant]) {
      field.addEventListener("input", () => this.#show());
    }
    this.#show();
  }

  offer(models: readonly ServedModel[], { tracks, fills }: Features): void {
    this.#model.replaceChildren(...models.map((model) => new Option(modelName(model), model.served_as)));
    element("model-field", HTMLElement).hidden = models.length < 2;
    element("tracks-field", HTMLElement).hidden = !tracks;
    element("fill-field", HTMLElement).hidden = !fills;
    this.#show();
  }

  /** The settings of the video that is shown; null: none is. They can be changed and used again. */
  begin(used: DetectOptions | null): void {
    this.#used = used;
    this.#show();
  }

  skipDamaged(): void {
    this.#tolerant.checked = true;
    this.#show();
  }

  get options(): DetectOptions {
    const stride = Math.max(1, Math.min(100_000, Math.round(this.#stride.valueAsNumber) || 1));
    const decode = this.#tolerant.checked ? "tolerant" : "strict";
    const model = this.#model.options.length > 1 ? { model: this.#model.value } : {};
    const tracks = this.#tracks.checked ? { tracks: true } : {};
    const fill = this.#fill.checked && this.#canFill(stride) ? { fill: "interpolate" as const } : {};
    return { ...model, mode: this.#mode.value, stride, ...fill, decode, ...tracks };
  }

  /** Whether a frame between two detected ones can be answered: later frames are known. */
  #canFill(stride: number): boolean {
    return stride > 1 && this.#mode.value === "sequence";
  }

  #show(): void {
    const { model, mode, stride, fill, decode, tracks } = this.options;
    this.#fill.disabled = !this.#canFill(stride);
    const words = [
      ...(model === undefined ? [] : [this.#model.selectedOptions[0]?.text ?? model]),
      mode === "online" ? "earlier frames only" : "whole video",
      stride === 1 ? "every frame" : `1 frame in ${stride}`,
      ...(fill ? ["frames between filled"] : []),
      ...(tracks ? ["tracks"] : []),
      ...(decode === "tolerant" ? ["damaged frames skipped"] : []),
    ];
    element("settings-now", HTMLElement).textContent = words.join(" · ");
    this.#again.hidden = this.#used === null;
    this.#again.disabled = JSON.stringify(this.#used) === JSON.stringify(this.options);
  }
}
