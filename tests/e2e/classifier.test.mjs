// The worker's WebAssembly without a browser: loaded in Node through its one JavaScript surface.
import assert from "node:assert/strict";
import { copyFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";

import { serve } from "./server.mjs";

const DIST = process.env.LACUNA_DIST ?? new URL("../../dist", import.meta.url).pathname;
/** Node 20 knows no relaxed SIMD, and no Node starts Web Workers. */
const ARTEFACT = process.env.LACUNA_ARTEFACT ?? "baseline";
let folder, server, Classifier, classifier, memory;
const drawing = async (name) => new Uint8Array(await readFile(`${DIST}/samples/${name}.png`));

before(async () => {
  // Node takes a file for a module by its ending.
  folder = await mkdtemp(join(tmpdir(), "lacuna-"));
  await copyFile(`${DIST}/workers/${ARTEFACT}.js`, join(folder, "worker.mjs"));
  const bindings = await import(pathToFileURL(join(folder, "worker.mjs")));
  ({ memory } = bindings.initSync({ module: await readFile(`${DIST}/workers/${ARTEFACT}_bg.wasm`) }));
  ({ Classifier } = bindings);
  server = await serve(DIST);
});
after(async () => {
  await server?.close();
  if (folder) await rm(folder, { recursive: true });
});

test("a bundle is loaded, its bytes counted", async () => {
  const heard = [];
  classifier = await Classifier.load(`${server.url}bundle/`, (loaded, total) => heard.push([loaded, total]));
  const { summary } = classifier;
  assert.ok(summary.classes.length > 1);
  assert.deepEqual([summary.artefact, summary.threads], [ARTEFACT, 1]);
  assert.deepEqual(heard[0], [0, summary.bytes]);
  assert.deepEqual(heard.at(-1), [summary.bytes, summary.bytes]);
});

test("a post is classified in each case; probabilities add up to one, in falling order", async () => {
  const image = await drawing("apple");
  for (const [kase, prediction] of [
    ["complete", classifier.classify(image, "red apple")],
    ["text_missing", classifier.classify(image)],
    ["image_missing", classifier.classify(undefined, "red apple")],
  ]) {
    assert.equal(prediction.case, kase);
    assert.equal(prediction.label, prediction.classes[0].label);
    const probabilities = prediction.classes.map((entry) => entry.probability);
    assert.ok(Math.abs(probabilities.reduce((a, b) => a + b) - 1) < 1e-4);
    assert.deepEqual(probabilities, probabilities.toSorted((a, b) => b - a));
    for (const entry of prediction.classes) {
      assert.equal(typeof entry.image, kase === "image_missing" ? "object" : "number");
      assert.equal(typeof entry.text, kase === "text_missing" ? "object" : "number");
    }
  }
});

test("a side leaves no trace in later answers", async () => {
  const image = await drawing("car");
  const first = classifier.classify(image);
  classifier.classify(await drawing("cat"), "a cat");
  assert.deepEqual(classifier.classify(image), first);
});

test("a classifier of images alone fetches no text tower, and says so", async () => {
  server.requests.length = 0;
  const heard = [];
  const images = await Classifier.load(`${server.url}bundle/`, (loaded, total) => heard.push([loaded, total]), undefined, "image");
  assert.ok(!server.requests.some((path) => path.includes("/text-")), server.requests.join(" "));
  assert.ok(server.requests.some((path) => path.includes("/image-")));
  assert.deepEqual(heard.at(-1), [images.summary.bytes, images.summary.bytes]);
  assert.ok(images.summary.bytes < classifier.summary.bytes);
  const image = await drawing("apple");
  assert.deepEqual(images.classify(image), classifier.classify(image));
  assert.throws(() => images.classify(undefined, "red apple"), { code: "input", message: /without its text tower/ });
  await assert.rejects(Classifier.load(`${server.url}bundle/`, undefined, undefined, "sound"), { code: "input" });
});

test("bad input is thrown as {code, message, hint}", async () => {
  assert.throws(() => classifier.classify(), { code: "input" });
  assert.throws(() => classifier.classify(new Uint8Array([1, 2, 3])), { code: "image" });
  await assert.rejects(Classifier.load(`${server.url}nowhere/`), { code: "status" });
  const gone = await serve(DIST);
  await gone.close();
  await assert.rejects(Classifier.load(`${gone.url}bundle/`), { code: "network" });
});

// The last one: it blocks for seconds, in which the server lets its idle connections go.
test("memory stays flat over 2,000 classifications", async () => {
  const images = await Promise.all(["apple", "car", "cat", "guitar"].map(drawing));
  const texts = [undefined, "a cat", "red apple on a wooden table beside a guitar"];
  const some = (count) => {
    for (let i = 0; i < count; i++) classifier.classify(images[i % 5], texts[i % 3] ?? (i % 5 === 4 ? "guitar" : undefined));
  };
  some(60);
  const before = memory.buffer.byteLength;
  some(2000);
  assert.equal(memory.buffer.byteLength, before);
});
