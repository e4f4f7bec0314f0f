import { element } from "../parts/dom.ts";

/** The ways in for videos: chosen, dropped anywhere on the page, or the sample. */
export function intake(take: (files: readonly File[]) => void, takeSample: () => void): void {
  const input = element("file", HTMLInputElement);
  for (const id of ["choose", "add"]) element(id, HTMLButtonElement).addEventListener("click", () => input.click());
  element("sample", HTMLButtonElement).addEventListener("click", takeSample);
  input.addEventListener("change", () => {
    const files = [...(input.files ?? [])];
    // So that the same file can be chosen again.
    input.value = "";
    if (files.length) take(files);
  });
  acceptDrops(take);
}

function acceptDrops(take: (files: readonly File[]) => void): void {
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
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) take(files);
  });
}
