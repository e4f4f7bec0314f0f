import { CameraTab } from "./camera_tab.ts";
import { element } from "./dom.ts";
import { KeyForm } from "./key_form.ts";
import { Notice } from "./notice.ts";
import { Problem } from "./problem.ts";
import { Server } from "./server.ts";
import { tabs } from "./tabs.ts";
import { VideoTab } from "./video_tab.ts";
import { plural } from "./words.ts";

const server = new Server(document.baseURI);
const notice = new Notice();
const keyForm = new KeyForm(server);
const videoTab = new VideoTab(server, notice, keyForm);
const cameraTab = new CameraTab(server, notice, keyForm);

tabs(element("tab-video", HTMLElement).parentElement!, (panel) => {
  notice.clear();
  if (panel === "panel-camera") videoTab.leave();
  else cameraTab.end();
});
void meet();

/** What the server serves and can do. */
async function meet(): Promise<void> {
  try {
    const models = await server.models();
    const [first, ...others] = models;
    if (!first) return;
    const more = others.length ? ` and ${others.length} more` : "";
    const classes = plural(first.classes.length, "class", "classes");
    const place = `${first.provider.replace("ExecutionProvider", "")} ${first.precision}`;
    element("model", HTMLElement).textContent = `${first.served_as}${more} · ${classes} · ${place}`;
    cameraTab.offer(models);
    videoTab.offer(models, await server.drawsVideos());
  } catch (thrown) {
    const problem = Problem.of(thrown);
    if (!keyForm.handles(problem, () => void meet())) notice.tell(problem, { label: "Try again", act: () => void meet() });
  }
}
