/** The position in the video. */
export interface Playhead {
  /** Seconds of the frame on the screen. */
  readonly time: number;
  readonly paused: boolean;
  play(): void;
  pause(): void;
  seek(seconds: number): void;
  /** Stops calling the listener. */
  leave(): void;
}

export interface PlayheadListener {
  /** A frame came to the screen; `seconds` is its time in the video. */
  presented(seconds: number): void;
  /** It started or stopped playing. */
  turned(): void;
}

/** A video element that plays. */
export class VideoPlayhead implements Playhead {
  readonly #video: HTMLVideoElement;
  readonly #listener: PlayheadListener;
  readonly #gone = new AbortController();
  #time = 0;

  constructor(video: HTMLVideoElement, listener: PlayheadListener) {
    this.#video = video;
    this.#listener = listener;
    const options = { signal: this.#gone.signal };
    for (const name of ["play", "pause", "ended"]) video.addEventListener(name, () => listener.turned(), options);
    if ("requestVideoFrameCallback" in video) this.#followFrames();
    else this.#followClock(options);
    this.#time = video.currentTime;
  }

  get time(): number {
    return this.#time;
  }

  get paused(): boolean {
    return this.#video.paused;
  }

  play(): void {
    // Rejected if the page is left or if a pause interrupts it; the button shows both.
    this.#video.play().catch(() => undefined);
  }

  pause(): void {
    this.#video.pause();
  }

  seek(seconds: number): void {
    this.#video.currentTime = Math.max(0, Math.min(seconds, this.#video.duration || Infinity));
  }

  leave(): void {
    this.#gone.abort();
  }

  #followFrames(): void {
    const next = () => {
      this.#video.requestVideoFrameCallback((_, { mediaTime }) => {
        if (this.#gone.signal.aborted) return;
        this.#presented(mediaTime);
        next();
      });
    };
    next();
  }

  /** Without requestVideoFrameCallback (Firefox before 132): the clock says which frame is due. */
  #followClock(options: AddEventListenerOptions): void {
    const now = () => this.#presented(this.#video.currentTime);
    for (const name of ["timeupdate", "seeked", "ended"]) this.#video.addEventListener(name, now, options);
    const tick = () => {
      if (this.#video.paused || this.#gone.signal.aborted) return;
      now();
      requestAnimationFrame(tick);
    };
    this.#video.addEventListener("play", () => requestAnimationFrame(tick), options);
  }

  #presented(mediaTime: number): void {
    this.#time = mediaTime;
    this.#listener.presented(this.#time);
  }
}

/** A clock, for a video that the browser cannot show. */
export class ClockPlayhead implements Playhead {
  readonly #range: () => readonly [number, number];
  readonly #listener: PlayheadListener;
  #time: number;
  #request = 0;

  /** `range`: seconds of the first frame, and of the end. */
  constructor(range: () => readonly [number, number], listener: PlayheadListener) {
    this.#range = range;
    this.#listener = listener;
    this.#time = range()[0];
  }

  get time(): number {
    // The time of the first frame may become known later.
    return Math.max(this.#time, this.#range()[0]);
  }

  get paused(): boolean {
    return this.#request === 0;
  }

  play(): void {
    if (!this.paused) return;
    const [begin, end] = this.#range();
    if (this.#time >= end) this.#time = begin;
    let last = performance.now();
    const tick = (now: number) => {
      this.seek(this.#time + Math.max(0, now - last) / 1000);
      last = now;
      if (this.#time >= this.#range()[1]) this.pause();
      else this.#request = requestAnimationFrame(tick);
    };
    this.#request = requestAnimationFrame(tick);
    this.#listener.turned();
  }

  pause(): void {
    this.leave();
    this.#listener.turned();
  }

  seek(seconds: number): void {
    const [begin, end] = this.#range();
    this.#time = Math.max(begin, Math.min(seconds, end));
    this.#listener.presented(this.#time);
  }

  leave(): void {
    cancelAnimationFrame(this.#request);
    this.#request = 0;
  }
}
