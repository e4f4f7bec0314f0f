// The original TensorFlow.js graph of the detector on one image, for test_original_graph.py.
// usage: node original_graph.mjs FOLDER_OF_NANODET INPUT OUTPUT   (with @tensorflow/tfjs in NODE_PATH)
import fs from "node:fs";
import { createRequire } from "node:module";

const tf = createRequire(`${process.env.NODE_PATH}/`)("@tensorflow/tfjs");
const [folder, input, output] = process.argv.slice(2);
const model = JSON.parse(fs.readFileSync(`${folder}/nanodet.json`));
const bytes = (path) => {
  const raw = fs.readFileSync(path);
  return raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength);
};
await tf.setBackend("cpu");
const graph = await tf.loadGraphModel({
  load: async () => ({
    modelTopology: model.modelTopology,
    weightSpecs: model.weightsManifest[0].weights,
    weightData: bytes(`${folder}/nanodet.bin`),
    signature: model.signature,
    format: model.format,
  }),
});
const image = tf.tensor(new Float32Array(bytes(input)), [1, 3, 416, 416]);
const names = [0, 1, 2, 3, 4, 5].map((index) => (index ? `Identity_${index}:0` : "Identity:0"));
const parts = [];
for (const each of graph.execute(image, names)) parts.push(Buffer.from((await each.data()).buffer));
fs.writeFileSync(output, Buffer.concat(parts));
