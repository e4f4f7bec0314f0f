import { Problem } from "../wire/problem.ts";

const WORDS: Readonly<Record<string, readonly [string, string]>> = {
  NotAllowedError: ["The camera was not allowed", "Allow it for this page in the browser, then start again."],
  NotFoundError: ["There is no camera", "Connect one, then start again."],
  NotReadableError: ["The camera cannot be read", "Another program may be using it."],
};

/** Opens the camera. Throws a Problem. */
export async function openCamera(): Promise<MediaStream> {
  if (!navigator.mediaDevices) {
    const detail = "Browsers allow it on https addresses and on localhost only.";
    throw new Problem(0, "insecure", "The camera cannot be used at this address", detail);
  }
  try {
    const video = { width: { ideal: 1280 }, height: { ideal: 720 }, facingMode: { ideal: "environment" } };
    return await navigator.mediaDevices.getUserMedia({ video, audio: false });
  } catch (thrown) {
    const [title, detail] = WORDS[thrown instanceof DOMException ? thrown.name : ""] ?? [
      "The camera cannot be opened",
      String(thrown),
    ];
    throw new Problem(0, "camera", title, detail);
  }
}

export interface Shot {
  readonly picture: ImageBitmap;
  readonly jpeg: ArrayBuffer;
  /** By `performance.now()`. */
  readonly taken: number;
}

/** Takes pictures of a video, no longer than `longSide` pixels. */
export class Shutter {
  readonly #video: HTMLVideoElement;
  readonly #canvas = document.createElement("canvas");

  constructor(video: HTMLVideoElement) {
    this.#video = video;
  }

  async take(longSide: number): Promise<Shot> {
    const { videoWidth, videoHeight } = this.#video;
    const taken = performance.now();
    const scale = Math.min(1, longSide / Math.max(videoWidth, videoHeight));
    const canvas = this.#canvas;
    canvas.width = Math.max(1, Math.round(videoWidth * scale));
    canvas.height = Math.max(1, Math.round(videoHeight * scale));
    canvas.getContext("2d")!.drawImage(this.#video, 0, 0, canvas.width, canvas.height);
    const [picture, blob] = await Promise.all([
      createImageBitmap(canvas),
      new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85)),
    ]);
    if (!blob) throw new Error("the browser could not make a JPEG of the camera's picture");
    return { picture, jpeg: await blob.arrayBuffer(), taken };
  }
}
