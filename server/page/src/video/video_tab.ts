import { element, onceAFrame } from "../parts/dom.ts";
import type { KeyForm } from "../parts/key_form.ts";
import type { Notice, Remedy } from "../parts/notice.ts";
import { Overlay } from "../parts/overlay.ts";
import { Colours } from "../parts/palette.ts";
import { showList } from "../parts/picture_list.ts";
import { scoreSlider } from "../parts/score_slider.ts";
import { Shown } from "../parts/shown.ts";
import { bytes, clockTime } from "../parts/words.ts";
import { Problem } from "../wire/problem.ts";
import type { ServedModel, VideoRecord } from "../wire/records.ts";
import type { Features, Server } from "../wire/server.ts";
import { Downloads } from "./downloads.ts";
import { intake } from "./intake.ts";
import type { Job } from "./job.ts";
import { Pace } from "./pace.ts";
import { Progress } from "./progress.ts";
import { Queue } from "./queue.ts";
import { QueueList } from "./queue_list.ts";
import type { Results } from "./results.ts";
import { Screen } from "./screen.ts";
import { Settings } from "./settings.ts";
import { Timeline } from "./timeline.ts";
import { Transport } from "./transport.ts";

const DAMAGED = new Set(["undecodable", "truncated"]);
const CONNECTION = new Set(["unreachable", "incomplete"]);

/** Videos from files: detect on them, look at one of them, save the results. */
export class VideoTab {
  readonly #server: Server;
  readonly #notice: Notice;
  readonly #keyForm: KeyForm;
  readonly #shown = new Shown(0.3);
  readonly #progress = new Progress();
  readonly #settings = new Settings(() => this.#again(this.#job));
  readonly #queue: Queue;
  readonly #list = new QueueList((job) => this.#select(job));
  readonly #screen: Screen;
  readonly #pace: Pace;
  readonly #overlay: Overlay;
  readonly #transport: Transport;
  readonly #timeline: Timeline;
  readonly #downloads: Downloads;
  readonly #update = onceAFrame(() => this.#showJob());
  /** The one that is shown, and those of its results that are. */
  #job: Job | null = null;
  #results: Results | null = null;

  constructor(server: Server, notice: Notice, keyForm: KeyForm) {
    this.#server = server;
    this.#notice = notice;
    this.#keyForm = keyForm;
    this.#queue = new Queue(server, () => this.#settings.options, (job) => this.#changed(job));
    this.#screen = new Screen({ presented: () => this.#showFrame(), turned: () => this.#transport.update() });
    this.#pace = new Pace(() => this.#screen.playhead);
    this.#overlay = new Overlay(element("boxes", HTMLCanvasElement), () => this.#screen.aspect);
    this.#transport = new Transport(() => this.#screen.playhead, this.#pace);
    this.#timeline = new Timeline(this.#shown, (part) => this.#transport.seekTo(part));
    this.#downloads = new Downloads(server, this.#shown, (problem, again) => this.#tell(problem, again));
    this.#shown.onChange(() => this.#showFrame());
    scoreSlider("score", this.#shown);
    intake((files) => this.#add(files), () => void this.#addSample());
    const buttons = {
      cancel: (job: Job) => this.#queue.cancel(job),
      remove: (job: Job) => this.#remove(job),
      retry: (job: Job) => job.retry(),
    };
    for (const [id, act] of Object.entries(buttons)) {
      element(id, HTMLButtonElement).addEventListener("click", () => this.#job && act(this.#job));
    }
  }

  offer(models: readonly ServedModel[], features: Features): void {
    this.#settings.offer(models, features);
    if (features.draws) this.#downloads.offerVideo();
  }

  /** Another tab is opened. */
  leave(): void {
    this.#pace.pause();
  }

  async #addSample(): Promise<void> {
    try {
      this.#add([await this.#server.sample()]);
    } catch (thrown) {
      this.#tell(Problem.of(thrown), () => void this.#addSample());
    }
  }

  #add(files: readonly File[]): void {
    this.#notice.clear();
    // A video may be dropped on any tab.
    if (element("panel-video", HTMLElement).hidden) element("tab-video", HTMLElement).click();
    const [first] = this.#queue.add(files);
    if (first && !this.#job?.isUnderway) this.#select(first);
    else this.#update();
  }

  #remove(job: Job): void {
    const at = this.#queue.jobs.indexOf(job);
    this.#queue.remove(job);
    this.#select(this.#queue.jobs[Math.min(at, this.#queue.jobs.length - 1)] ?? null);
    if (!this.#job) element("choose", HTMLButtonElement).focus();
  }

  #again(job: Job | null): void {
    if (!job) return;
    this.#notice.clear();
    this.#queue.again(job);
  }

  #select(job: Job | null): void {
    this.#job = job;
    this.#notice.clear();
    this.#shown.reset();
    this.#screen.close();
    if (job) this.#screen.load(job.file);
    this.#present(job?.results ?? null);
    if (job?.problem) this.#tellOf(job);
    this.#showJob();
  }

  #changed(job: Job): void {
    if (job !== this.#job) return this.#update();
    if (job.results !== this.#results) this.#present(job.results);
    if (job.state === "failed") this.#tellOf(job);
    this.#update();
  }

  /** Show these results from their beginning. */
  #present(results: Results | null): void {
    this.#results = results;
    this.#shown.resetObjects();
    this.#pace.reset();
    if (results) this.#screen.describe(results);
    this.#transport.begin(results);
    this.#timeline.begin(results);
  }

  #showJob(): void {
    const job = this.#job;
    this.#list.update(this.#queue.jobs, job);
    element("intake", HTMLElement).hidden = job !== null;
    element("about", HTMLElement).hidden = job === null;
    element("work", HTMLElement).hidden = !job || (job.state === "failed" && !job.results);
    this.#settings.begin(job?.options ?? null);
    if (!job) return;
    const facts = [...(this.#results ? factsOf(this.#results) : []), bytes(job.file.size)];
    element("name", HTMLElement).textContent = job.file.name;
    element("facts", HTMLElement).textContent = facts.join(" · ");
    element("cancel", HTMLElement).hidden = !job.isUnderway;
    element("remove", HTMLElement).hidden = job.isUnderway;
    this.#progress.show(job);
    this.#downloads.show(job);
    this.#timeline.update();
    this.#showFrame();
  }

  /** The boxes of the frame that is on the screen. */
  #showFrame(): void {
    const [results, playhead] = [this.#results, this.#screen.playhead];
    const underway = this.#job?.isUnderway ?? false;
    const frame = results && playhead ? results.frameAt(playhead.time) : -1;
    const found = frame >= 0 ? results!.detectionsOf(frame) : [];
    const detections = found.filter((each) => this.#shown.has(each));
    const colours = results?.colours ?? new Colours();
    const filled = frame >= 0 && results!.isFilled(frame);
    const index = frame >= 0 ? results!.indexOf(frame) : -1;
    const picture = frame >= 0 ? { ...results!.video, index, filled, detections, colours } : null;
    this.#overlay.show(picture);
    const otherwise = frame >= 0 ? "No detection with this score" : underway ? "Not detected yet" : "No results here";
    showList(element("here", HTMLOListElement), detections, colours, otherwise, filled);
    this.#pace.follow(results, !underway);
    this.#transport.update();
  }

  #tellOf(job: Job): void {
    this.#tell(job.problem!, () => this.#again(job));
  }

  #tell(problem: Problem, again: () => void): void {
    if (!this.#keyForm.handles(problem, again)) this.#notice.tell(problem, this.#remedy(problem, again));
  }

  #remedy({ code, isBusy }: Problem, again: () => void): Remedy | null {
    if (isBusy || CONNECTION.has(code)) return { label: "Try again", act: again };
    if (!DAMAGED.has(code) || this.#settings.options.decode === "tolerant") return null;
    const act = () => {
      this.#settings.skipDamaged();
      again();
    };
    return { label: "Skip damaged frames", act };
  }
}

function factsOf({ video, aspect }: Results): string[] {
  return [sizeOf(video, aspect), ...(video.duration ? [clockTime(video.duration)] : []), ...rateOf(video), video.codec];
}

/** Pixels, and the shape as displayed where pixels are not square. */
function sizeOf({ width, height }: VideoRecord, aspect: number): string {
  const displayed = Math.round(height * aspect);
  return `${width} × ${height}${displayed === width ? "" : ` (shown as ${displayed} × ${height})`}`;
}

function rateOf({ average_rate }: VideoRecord): string[] {
  const [count, seconds] = (average_rate ?? "").split("/").map(Number);
  return count && seconds ? [`${Number((count / seconds).toFixed(2))} frames/s`] : [];
}
