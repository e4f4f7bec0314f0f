// Uses the generated TypeScript types with openapi-fetch: the operations that a page or a service needs.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./selsa.js";

type Schemas = components["schemas"];

const [address, path] = process.argv.slice(2) as [string, string];
const video = await readFile(path);
const api = createClient<paths>({ baseUrl: address });
// The types of files are strings, so the serializer gives the bytes.
const upload = { body: "", bodySerializer: () => video, headers: { "Content-Type": "application/octet-stream" } };

const found = await api.POST("/detect", { ...upload, params: { query: { stride: 2, mode: "online" } } });
assert(found.data && typeof found.data !== "string");
const count: number = found.data.frames.length;
assert(count > 0 && found.data.frames.some((frame) => frame.detections.length > 0));

const streamed = await api.POST("/detect", {
  ...upload,
  params: { query: { stride: 2, mode: "online" } },
  headers: { ...upload.headers, Accept: "application/x-ndjson" },
  parseAs: "text",
});
assert(typeof streamed.data === "string");
const records = streamed.data.trim().split("\n").map((line) => JSON.parse(line) as Schemas["Record"]);
assert.equal(records.filter((record) => record.type === "frame").length, count);
const last = records.at(-1);
assert(last?.type === "summary");
assert.equal(last.emitted, count);

const refused = await api.POST("/detect", { ...upload, bodySerializer: () => "no video" });
assert.equal(refused.error?.code, "not_a_video");

const created = await api.POST("/v1/jobs", { ...upload, params: { query: { stride: 6 } } });
let job: Schemas["Job"] | undefined = created.data;
assert(job);
const where = { params: { path: { job_id: job.id } } };
while (job.state === "queued" || job.state === "running") {
  await new Promise((resolve) => setTimeout(resolve, 100));
  job = (await api.GET("/v1/jobs/{job_id}", where)).data;
  assert(job);
}
assert.equal(job.state, "done");
assert.deepEqual((await api.GET("/v1/jobs")).data?.jobs.map((each) => each.id), [job.id]);
const results = await api.GET("/v1/jobs/{job_id}/results", { ...where, parseAs: "text" });
assert.equal(results.data?.trim().split("\n").length, job.progress.done + 2);
const formats = { path: where.params.path, query: { format: "coco" as "ndjson" } };
const other = await api.GET("/v1/jobs/{job_id}/results", { params: formats, parseAs: "text" });
assert.equal(other.error?.code, "not_acceptable");
assert.equal((await api.DELETE("/v1/jobs/{job_id}", where)).response.status, 204);
assert.equal((await api.GET("/v1/jobs/{job_id}", where)).error?.code, "job_not_found");

const models = await api.GET("/v1/models");
assert.equal(models.data?.[0]?.name, (await api.GET("/model")).data?.served_as);
assert.equal((await api.GET("/healthz")).data?.status, "ok");
console.log("TypeScript client: all operations used");
