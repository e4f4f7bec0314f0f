import { element } from "./dom.ts";
import type { Shown } from "./shown.ts";

/** A slider that sets the lowest shown score. */
export function scoreSlider(id: string, shown: Shown): void {
  const slider = element(id, HTMLInputElement);
  const value = element(`${id}-value`, HTMLOutputElement);
  const apply = () => {
    value.textContent = slider.valueAsNumber.toFixed(2);
    shown.threshold = slider.valueAsNumber;
  };
  slider.addEventListener("input", apply);
  apply();
}
