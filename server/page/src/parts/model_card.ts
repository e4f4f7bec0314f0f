import type { ServedModel } from "../wire/records.ts";
import { element } from "./dom.ts";
import { plural } from "./words.ts";

const MOST = 100;

/** What a model is called, for people. */
export function modelName({ title, served_as }: ServedModel): string {
  return title || served_as;
}

/** Says what the server's models are: in the header the name, on the start page its purpose and its classes. */
export function showModel(models: readonly ServedModel[]): void {
  const [model, ...others] = models;
  if (!model) return;
  const classes = plural(model.classes.length, "class", "classes");
  const place = `${model.provider.replace("ExecutionProvider", "")} ${model.precision}`;
  const more = others.length ? `, and ${plural(others.length, "other model", "other models")}` : "";
  const texts = {
    model: `${modelName(model)} · ${classes} · ${place}`,
    "about-model-title": `This server's model: ${modelName(model)}${more}`,
    "about-model-text": model.description ?? "",
    "about-model-warning": model.warning ?? "",
    "about-model-classes": `It knows ${classes}: ${listed(model.classes)}.`,
  };
  for (const [id, text] of Object.entries(texts)) element(id, HTMLElement).textContent = text;
  element("about-model", HTMLElement).hidden = false;
}

function listed(classes: readonly string[]): string {
  const names = classes.slice(0, MOST).map((name) => name.replaceAll("_", " "));
  return names.join(", ") + (classes.length > MOST ? `, and ${classes.length - MOST} more` : "");
}
