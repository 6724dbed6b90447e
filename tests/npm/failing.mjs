// What a caller hears when something goes wrong that is not about one post.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { serve } from "../e2e/server.mjs";
import { closedAddress, keep, openPlain } from "./pages.mjs";
import { MOUNTS, PACKAGE, SITE } from "./site.mjs";

export function failing() {
  let page, context, crashing;
  before(async () => {
    // A worker that ends by itself at one word, as one does that runs out of memory.
    const script = await readFile(join(PACKAGE, "dist/artefacts/relaxed.js"), "utf8");
    const trap = `addEventListener("message", (event) => {
      if (event.data.text !== "crash") return;
      event.stopImmediatePropagation();
      throw new WebAssembly.RuntimeError("unreachable");
    });\n`;
    crashing = keep(
      await serve(SITE, { mounts: MOUNTS, isolated: false, change: (path) => (path.endsWith("/relaxed.js") ? trap + script : undefined) }),
    );
    ({ page, context } = await openPlain(crashing));
  });
  after(() => context?.close());

  test("a worker that ends rejects all that wait, and the next call says what to do", async () => {
    const failures = await page.evaluate(async () => {
      const c = await Classifier.load("bundle/");
      const started = [c.classify({ text: "crash" }), c.classify({ text: "cat" })].map(plainly);
      return [...(await Promise.all(started)), await plainly(c.classifyBatch([{ text: "cat" }])), await plainly(c.classify({ text: "cat" }))];
    });
    for (const { code, message, hint } of failures) {
      assert.equal(code, "memory");
      assert.match(message, /ended/);
      assert.match(hint, /Classifier\.load again/);
    }
    assert.match(failures.at(-1).message, /^The classifier has ended\./);
  });

  test("a folder that is none, options that cannot be, a server that is not there", async () => {
    const failures = await page.evaluate(async (closed) => {
      const seen = [];
      for (const [wanted, url, options] of [
        ["status", "nowhere/"],
        ["network", closed],
        ["input", "bundle/manifest.json"],
        ["input", "bundle/?version=1"],
        ["input", "http://["],
        ["input", "bundle/", { threads: 0 }],
        ["input", "bundle/", { only: "sound" }],
        ["input", "bundle/", { worker: false, artefact: "threads" }],
        ["status", "nowhere/", { worker: false }],
      ]) {
        seen.push({ wanted, ...(await plainly(Classifier.load(url, options))) });
      }
      return seen;
    }, await closedAddress());
    for (const { wanted, code, message, hint } of failures) {
      assert.equal(code, wanted, message);
      assert.ok(message && hint);
    }
  });

  test("a classifier of texts alone fetches no image tower, and says so of an image", async () => {
    crashing.requests.length = 0;
    const [text, image] = await page.evaluate(async () => {
      const c = await Classifier.load("bundle/", { only: "text" });
      return [await plainly(c.classify({ text: "cat" })), await plainly(c.classify({ image: "samples/cat.png" }))];
    });
    assert.equal(text.value.case, "image_missing");
    assert.equal(image.code, "input");
    assert.ok(crashing.requests.some((path) => path.includes("/text-")));
    assert.ok(!crashing.requests.some((path) => path.includes("/image-")), crashing.requests.join());
  });
}
