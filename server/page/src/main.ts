import { CameraTab } from "./camera/camera_tab.ts";
import { element } from "./parts/dom.ts";
import { KeyForm } from "./parts/key_form.ts";
import { showModel } from "./parts/model_card.ts";
import { Notice } from "./parts/notice.ts";
import { Problem } from "./wire/problem.ts";
import { Server } from "./wire/server.ts";
import { tabs } from "./parts/tabs.ts";
import { VideoTab } from "./video/video_tab.ts";

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
void introduce();

/** Asks the server what it serves and what it can do. */
async function introduce(): Promise<void> {
  try {
    const models = await server.models();
    showModel(models);
    cameraTab.offer(models);
    videoTab.offer(models, await server.features());
  } catch (thrown) {
    const problem = Problem.of(thrown);
    const again = () => void introduce();
    if (!keyForm.handles(problem, again)) notice.tell(problem, { label: "Try again", act: again });
  }
}
