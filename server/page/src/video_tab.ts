import { element, onceAFrame } from "./dom.ts";
import { Downloads, stem, type Finished } from "./downloads.ts";
import { save } from "./files.ts";
import { Intake } from "./intake.ts";
import type { KeyForm } from "./key_form.ts";
import type { Notice, Remedy } from "./notice.ts";
import { Overlay } from "./overlay.ts";
import { showList } from "./picture_list.ts";
import { isAbort, Problem } from "./problem.ts";
import { Progress } from "./progress.ts";
import { Results } from "./results.ts";
import { scoreSlider } from "./score_slider.ts";
import { Screen } from "./screen.ts";
import type { DetectOptions, Server } from "./server.ts";
import { Shown } from "./shown.ts";
import { Timeline } from "./timeline.ts";
import { Transport } from "./transport.ts";
import type { ServedModel, VideoRecord } from "./wire.ts";
import { bytes, clockTime, plural, roughly } from "./words.ts";

const DAMAGED = new Set(["undecodable", "truncated"]);

/** A video from a file: detect on it, look at it, take the results away. */
export class VideoTab {
  readonly #server: Server;
  readonly #notice: Notice;
  readonly #keyForm: KeyForm;
  readonly #shown = new Shown(0.3);
  readonly #progress = new Progress();
  readonly #intake: Intake;
  readonly #screen: Screen;
  readonly #overlay: Overlay;
  readonly #transport: Transport;
  readonly #timeline: Timeline;
  readonly #downloads: Downloads;
  readonly #cancel = element("cancel", HTMLButtonElement);
  readonly #update = onceAFrame(() => this.#showProgress());
  #results: Results | null = null;
  #running: AbortController | null = null;

  constructor(server: Server, notice: Notice, keyForm: KeyForm) {
    this.#server = server;
    this.#notice = notice;
    this.#keyForm = keyForm;
    this.#intake = new Intake((file) => void this.#detect(file), () => void this.#detectOnSample());
    this.#screen = new Screen({ presented: () => this.#showFrame(), turned: () => this.#transport.update() });
    this.#overlay = new Overlay(element("boxes", HTMLCanvasElement), () => this.#screen.aspect);
    this.#transport = new Transport(() => this.#screen.playhead);
    this.#timeline = new Timeline(this.#shown, (part) => this.#transport.seekTo(part));
    this.#downloads = new Downloads(this.#shown, (finished, classes) => void this.#draw(finished, classes));
    this.#shown.onChange(() => this.#showFrame());
    scoreSlider("score", this.#shown);
    this.#cancel.addEventListener("click", () => this.#running?.abort());
    element("another", HTMLButtonElement).addEventListener("click", () => this.#reset());
  }

  offer(models: readonly ServedModel[], drawsVideos: boolean): void {
    this.#intake.offer(models);
    if (drawsVideos) this.#downloads.offerVideo();
  }

  /** Somebody looks at something else. */
  leave(): void {
    this.#screen.playhead?.pause();
  }

  async #detectOnSample(): Promise<void> {
    try {
      await this.#detect(await this.#server.sample());
    } catch (thrown) {
      this.#tell(Problem.of(thrown));
    }
  }

  async #detect(file: File): Promise<void> {
    this.#notice.clear();
    const options = this.#intake.options;
    const signal = this.#begin(file);
    try {
      for await (const { record, line } of this.#server.detect(file, options, signal)) {
        if (record.type === "video") this.#take(new Results(record, line, options.stride), file);
        else if (record.type !== "error") this.#results?.add(record, line);
        this.#update();
      }
      this.#finish({ results: this.#results!, file, options }, "");
    } catch (thrown) {
      if (this.#running?.signal !== signal) return;
      this.#failed(file, options, thrown);
    }
  }

  #begin(file: File): AbortSignal {
    this.#running?.abort();
    this.#running = new AbortController();
    this.#results = null;
    this.#shown.reset();
    this.#timeline.begin(null);
    this.#transport.begin(null);
    this.#downloads.begin(null);
    // A video may be dropped on any tab.
    if (element("panel-video", HTMLElement).hidden) element("tab-video", HTMLElement).click();
    element("intake", HTMLElement).hidden = true;
    element("work", HTMLElement).hidden = false;
    element("name", HTMLElement).textContent = file.name;
    element("facts", HTMLElement).textContent = bytes(file.size);
    this.#cancel.hidden = false;
    this.#progress.busy("Sending the video and looking at its reference frames");
    this.#screen.load(file);
    this.#showFrame();
    return this.#running.signal;
  }

  #take(results: Results, file: File): void {
    this.#results = results;
    element("facts", HTMLElement).textContent = `${factsOf(results.video)} · ${bytes(file.size)}`;
    this.#screen.describe(results);
    this.#transport.begin(results);
    this.#timeline.begin(results);
  }

  #showProgress(): void {
    if (!this.#results) return;
    if (this.#running) this.#progress.frames(this.#results);
    this.#timeline.update();
    this.#showFrame();
  }

  /** The boxes of the frame that is on the screen. */
  #showFrame(): void {
    const [results, playhead] = [this.#results, this.#screen.playhead];
    const frame = results && playhead ? results.frameAt(playhead.time) : -1;
    const found = frame >= 0 ? results!.detectionsOf(frame) : [];
    const detections = found.filter((each) => this.#shown.has(each.class_id, each.score));
    const picture = frame >= 0 ? { ...results!.video, index: results!.indexOf(frame), detections } : null;
    this.#overlay.show(picture);
    const otherwise = frame >= 0 ? "Nothing with such a score" : this.#running ? "Not detected on yet" : "Not detected on";
    showList(element("here", HTMLOListElement), detections, otherwise);
    this.#transport.update();
  }

  #finish(finished: Finished, why: string): void {
    const { results } = finished;
    this.#running = null;
    this.#cancel.hidden = true;
    this.#progress.ended(why || doneText(results));
    this.#downloads.begin(results.frames ? finished : null);
    this.#showProgress();
  }

  #failed(file: File, options: DetectOptions, thrown: unknown): void {
    const results = this.#results;
    const after = results?.frames ? ` after ${plural(results.frames, "frame")}` : "";
    if (results?.frames) this.#finish({ results, file, options }, `${isAbort(thrown) ? "Cancelled" : "Stopped"}${after}`);
    else this.#reset();
    if (isAbort(thrown)) return;
    this.#tell(Problem.of(thrown), () => void this.#detect(file));
  }

  async #draw({ file, options }: Finished, classes: readonly string[] | null): Promise<void> {
    const running = (this.#running = new AbortController());
    this.#cancel.hidden = false;
    this.#progress.busy("The server draws the video");
    try {
      const shown = { scoreThreshold: Number(this.#shown.threshold.toFixed(2)), classes };
      save(await this.#server.drawn(file, options, shown, running.signal), `${stem(file.name)}.boxes.mp4`);
      this.#progress.ended("The drawn video is saved");
    } catch (thrown) {
      if (this.#running !== running) return;
      this.#progress.ended(isAbort(thrown) ? "Cancelled" : "The video was not drawn");
      if (!isAbort(thrown)) this.#tell(Problem.of(thrown));
    }
    this.#running = null;
    this.#cancel.hidden = true;
  }

  #reset(): void {
    this.#running?.abort();
    this.#running = this.#results = null;
    this.#screen.close();
    element("work", HTMLElement).hidden = true;
    element("intake", HTMLElement).hidden = false;
    element("choose", HTMLButtonElement).focus();
  }

  #tell(problem: Problem, again: (() => void) | null = null): void {
    if (again && this.#keyForm.handles(problem, again)) return;
    this.#notice.tell(problem, again && this.#remedy(problem, again));
  }

  #remedy({ code }: Problem, again: () => void): Remedy | null {
    if (code === "server_busy" || code === "unreachable" || code === "incomplete") return { label: "Try again", act: again };
    if (!DAMAGED.has(code) || this.#intake.options.decode === "tolerant") return null;
    const act = () => {
      this.#intake.goOnAfterDamage();
      again();
    };
    return { label: "Go on after damaged frames", act };
  }
}

function factsOf({ width, height, duration, average_rate, codec }: VideoRecord): string {
  const [count, seconds] = (average_rate ?? "").split("/").map(Number);
  const rate = count && seconds ? [`${Number((count / seconds).toFixed(2))} frames/s`] : [];
  return [`${width} × ${height}`, ...(duration ? [clockTime(duration)] : []), ...rate, codec].join(" · ");
}

function doneText(results: Results): string {
  const { corrupt = 0, seconds = 0, complete = false } = results.summary ?? {};
  const damaged = corrupt ? `, ${plural(corrupt, "damaged frame")} left out` : complete ? "" : ", not complete";
  return `${plural(results.frames, "frame")} in ${roughly(seconds)}${damaged}`;
}
