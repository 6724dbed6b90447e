// Owns the servers and the browser of these tests, and how a page that lends the package's exports is opened.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { launch } from "../e2e/chromium.mjs";
import { serve } from "../e2e/server.mjs";
import { MOUNTS, SITE, build, make } from "./site.mjs";

/** What every artefact says of the sample `apple` with the text "red apple". */
export const APPLE = "fruit-vegetable";

/** Vite's build on a server that isolates; the page without a bundler on one that cannot; what Vite printed. */
export let built, plain, printed;
let browser;
const servers = [];

export async function start() {
  await make();
  printed = await build();
  browser = await launch();
  built = keep(await serve(join(SITE, "dist")));
  plain = keep(await serve(SITE, { mounts: MOUNTS, isolated: false }));
}

export async function stop() {
  await browser?.close();
  for (const server of servers) await server.close();
}

/** Closes the server in the end. */
export function keep(server) {
  servers.push(server);
  return server;
}

/** Opens a page in a fresh profile, after `prepare` saw it; `errors` and `warnings` fill while it lives. */
export async function open(url, { prepare = async () => {}, until = () => "Classifier" in window } = {}) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const errors = [];
  const warnings = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
    if (message.type() === "warning") warnings.push(message.text());
  });
  await page.addInitScript(lend);
  await prepare(page);
  await page.goto(url);
  await page.waitForFunction(until);
  return { page, context, errors, warnings };
}

/** The page without a bundler. */
export const openPlain = (server = plain, options = {}) => open(`${server.url}plain.html`, options);

/** Runs in each page: a value or a failure as plain data, for classes do not cross to the tests. */
function lend() {
  window.plainly = (promise) =>
    promise.then(
      (value) => ({ value }),
      ({ name, code, message, hint }) => ({ name, code: typeof code === "string" ? code : null, message, hint }),
    );
}

/** Runs in a page: loads the bundle, leaves it behind as `c`, and classifies one sample in each case. */
export async function classifyCases(options) {
  const heard = [];
  window.c = await Classifier.load("bundle", { onProgress: (progress) => heard.push(progress), ...options });
  const image = await (await fetch("samples/apple.png")).blob();
  const posts = [{ image, text: "red apple" }, { image }, { text: "red apple" }];
  // All at once: they are answered in turn.
  const predictions = await Promise.all(posts.map((post) => c.classify(post)));
  return { heard, summary: c.summary, predictions };
}

/** Holds what [`classifyCases`] returned against the bundle. */
export async function agrees({ heard, summary, predictions }, artefact) {
  const manifest = JSON.parse(await readFile(join(MOUNTS.bundle, "manifest.json")));
  const total = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  assert.deepEqual(heard.at(-1), { loaded: total, total });
  assert.equal(summary.artefact, artefact);
  assert.equal(summary.bytes, total);
  assert.deepEqual(summary.classes, manifest.config.classes);
  assert.deepEqual(predictions.map((prediction) => prediction.case), ["complete", "text_missing", "image_missing"]);
  for (const { label } of predictions) assert.equal(label, APPLE);
}

/** An address at which nobody listens. */
export async function closedAddress() {
  const { url, close } = await serve(SITE);
  await close();
  return url;
}
