import { openCamera, Shutter } from "./camera.ts";
import { element } from "../parts/dom.ts";
import type { KeyForm } from "../parts/key_form.ts";
import { Live } from "../wire/live.ts";
import type { Notice } from "../parts/notice.ts";
import { Overlay } from "../parts/overlay.ts";
import { Colours } from "../parts/palette.ts";
import { showList } from "../parts/picture_list.ts";
import { Problem } from "../wire/problem.ts";
import { scoreSlider } from "../parts/score_slider.ts";
import type { Server } from "../wire/server.ts";
import { Shown } from "../parts/shown.ts";
import type { FrameRecord, ServedModel, VideoRecord } from "../wire/records.ts";

/** Weight of the newest value in the figures that are shown. */
const NEWEST = 0.2;

/** The camera, detected on while it runs. */
export class CameraTab {
  readonly #server: Server;
  readonly #notice: Notice;
  readonly #keyForm: KeyForm;
  readonly #shown = new Shown(0.3);
  readonly #video = element("live-video", HTMLVideoElement);
  readonly #overlay: Overlay;
  readonly #shutter: Shutter;
  readonly #start = element("live-start", HTMLButtonElement);
  readonly #stop = element("live-stop", HTMLButtonElement);
  readonly #inStep = element("live-in-step", HTMLInputElement);
  readonly #colours = new Colours();
  readonly #pictures = new Map<number, ImageBitmap>();
  #longSide = 640;
  #session: Live | null = null;
  #record: VideoRecord | null = null;
  #last: FrameRecord | null = null;
  #behind: ImageBitmap | null = null;
  /** Pictures of the camera that were not sent. */
  #skipped = 0;
  #latency = 0;
  #interval = 0;
  #lastAt = 0;

  constructor(server: Server, notice: Notice, keyForm: KeyForm) {
    this.#server = server;
    this.#notice = notice;
    this.#keyForm = keyForm;
    this.#overlay = new Overlay(element("live-boxes", HTMLCanvasElement), () => this.#aspect);
    this.#shutter = new Shutter(this.#video);
    this.#shown.onChange(() => this.#show());
    scoreSlider("live-score", this.#shown);
    this.#start.addEventListener("click", () => void this.#begin());
    this.#stop.addEventListener("click", () => this.end());
    this.#inStep.addEventListener("change", () => this.#show());
  }

  offer(models: readonly ServedModel[]): void {
    // The model uses no more pixels than this.
    if (models[0]) this.#longSide = Math.min(1280, models[0].long_side);
  }

  /** Turn the camera off. */
  end(): void {
    this.#session?.end();
    this.#turnOff();
  }

  async #begin(): Promise<void> {
    this.#notice.clear();
    this.#start.disabled = true;
    try {
      // A WebSocket is refused without a reason; this request says whether a key is required.
      this.offer(await this.#server.models());
      this.#video.srcObject = await openCamera();
      await this.#video.play();
      this.#connect();
    } catch (thrown) {
      this.#turnOff();
      this.#tell(Problem.of(thrown));
    }
    this.#start.disabled = false;
  }

  #connect(): void {
    this.#skipped = this.#latency = this.#interval = this.#lastAt = 0;
    this.#video.closest<HTMLElement>(".screen")!.style.setProperty("--aspect", String(this.#aspect));
    const session: Live = new Live(this.#server.stream(), undefined, {
      video: (record) => (this.#record = record),
      frame: (record, latency) => this.#take(record, latency),
      ended: (problem) => {
        if (this.#session === session) this.#turnOff();
        if (problem) this.#tell(problem);
      },
    });
    this.#session = session;
    this.#start.hidden = true;
    this.#stop.hidden = false;
    this.#stop.focus();
    element("live-blank", HTMLElement).hidden = true;
    element("spoken", HTMLElement).textContent = "The camera is on";
    void this.#feed(session);
  }

  /** Sends each picture of the camera or counts it as skipped. */
  async #feed(session: Live): Promise<void> {
    while (this.#session === session) {
      await nextPicture(this.#video);
      if (this.#session !== session || !this.#video.videoWidth) continue;
      if (!session.wantsMore) {
        this.#skipped++;
        continue;
      }
      const { picture, jpeg, taken } = await this.#shutter.take(this.#longSide);
      if (this.#session === session) this.#pictures.set(session.send(jpeg, taken), picture);
      else picture.close();
    }
  }

  #take(record: FrameRecord, latency: number): void {
    const now = performance.now();
    this.#latency = smooth(this.#latency, latency);
    if (this.#lastAt) this.#interval = smooth(this.#interval, now - this.#lastAt);
    this.#lastAt = now;
    this.#last = record;
    this.#behind?.close();
    this.#behind = this.#pictures.get(record.index) ?? null;
    this.#pictures.delete(record.index);
    for (const [index, picture] of this.#pictures) {
      if (index < record.index && this.#pictures.delete(index)) picture.close();
    }
    this.#show();
    this.#showFigures();
  }

  #show(): void {
    const [last, record] = [this.#last, this.#record];
    const detections = (last?.detections ?? []).filter((each) => this.#shown.has(each));
    const colours = this.#colours;
    const picture = last && record ? { ...record, index: last.index, detections, colours } : null;
    this.#overlay.show(picture, this.#inStep.checked ? this.#behind : null);
    showList(element("live-here", HTMLOListElement), detections, colours, last ? "No detection with this score" : "–");
  }

  #showFigures(): void {
    const dropped = this.#skipped + (this.#session?.dropped ?? 0);
    element("live-latency", HTMLElement).textContent = `${Math.round(this.#latency)} ms`;
    if (this.#interval) {
      element("live-rate", HTMLElement).textContent = `${(1000 / this.#interval).toFixed(1)} per second`;
    }
    element("live-dropped", HTMLElement).textContent = `${dropped.toLocaleString("en")} pictures`;
  }

  #turnOff(): void {
    const wasOn = this.#session !== null;
    this.#session = this.#last = this.#record = null;
    for (const picture of this.#pictures.values()) picture.close();
    this.#pictures.clear();
    this.#behind?.close();
    this.#behind = null;
    const stream = this.#video.srcObject;
    if (stream instanceof MediaStream) for (const track of stream.getTracks()) track.stop();
    this.#video.srcObject = null;
    this.#start.hidden = false;
    this.#stop.hidden = true;
    element("live-blank", HTMLElement).hidden = false;
    this.#show();
    if (!wasOn) return;
    element("spoken", HTMLElement).textContent = "The camera is off";
    this.#start.focus();
  }

  #tell(problem: Problem): void {
    const again = () => void this.#begin();
    if (!this.#keyForm.handles(problem, again)) this.#notice.tell(problem, { label: "Try again", act: again });
  }

  get #aspect(): number {
    return this.#video.videoWidth ? this.#video.videoWidth / this.#video.videoHeight : 16 / 9;
  }
}

function smooth(before: number, newest: number): number {
  return before ? before + NEWEST * (newest - before) : newest;
}

function nextPicture(video: HTMLVideoElement): Promise<void> {
  return new Promise((resolve) => {
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(() => resolve());
    else setTimeout(resolve, 40);
  });
}
