// Where the package runs: bundled and not, with headers and without, and what it falls back to.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { serve } from "../e2e/server.mjs";
import { APPLE, agrees, built, classifyCases, keep, open, openPlain, plain, printed } from "./pages.mjs";
import { MOUNTS, PACKAGE, SITE, develop } from "./site.mjs";

export function where() {
  /** The fastest artefact of an isolated page; threads need two cores. */
  const fastest = async (page) => ((await page.evaluate(() => navigator.hardwareConcurrency)) > 1 ? "threads" : "relaxed");

  test("Vite's build finds every file, and the threads run", async () => {
    assert.ok(!/warn|doesn't exist/i.test(printed), printed);
    const { page, context, errors } = await open(built.url);
    const seen = await page.evaluate(classifyCases);
    await agrees(seen, await fastest(page));
    assert.equal(seen.summary.threads > 1, seen.summary.artefact === "threads");
    assert.deepEqual(errors, []);
    await context.close();
  });

  test("Vite's development server, the package being optimised as every other", async () => {
    const server = keep(await develop());
    const { page, context, errors } = await open(server.url);
    await agrees(await page.evaluate(classifyCases), await fastest(page));
    assert.deepEqual(errors, []);
    await context.close();
  });

  test("no bundler and no headers: one thread with relaxed SIMD", async () => {
    const { page, context, errors } = await openPlain();
    await agrees(await page.evaluate(classifyCases), "relaxed");
    assert.deepEqual(errors, []);
    await context.close();
  });

  test("a browser without relaxed SIMD: the baseline", async () => {
    const { page, context } = await openPlain(plain, {
      prepare: (page) => page.addInitScript(() => (WebAssembly.validate = () => false)),
    });
    await agrees(await page.evaluate(classifyCases), "baseline");
    await context.close();
  });

  test("without a worker, on the page's own thread", async () => {
    const { page, context } = await open(built.url);
    await agrees(await page.evaluate(classifyCases, { worker: false }), "relaxed");
    assert.equal(page.workers().length, 0);
    const [bad, empty, disposed, given] = await page.evaluate(async () => {
      const bad = await plainly(c.classify({ image: new Blob(["no picture"]) }));
      const empty = await plainly(c.classify({}));
      c.dispose();
      const signal = AbortSignal.timeout(0);
      return [bad, empty, await plainly(c.classify({ text: "cat" })), await plainly(Classifier.load("bundle/", { worker: false, signal }))];
    });
    assert.deepEqual([bad.code, empty.code, disposed.code, given.name], ["image", "input", "disposed", "TimeoutError"]);
    await context.close();
  });

  test("in a worker of the page's own, which starts the model's worker", async () => {
    const { page, context, errors } = await openPlain();
    const label = await page.evaluate(async () => {
      const script = `
        import { Classifier } from ${JSON.stringify(new URL("node_modules/lacuna-classifier/dist/index.js", location.href).href)};
        const c = await Classifier.load(${JSON.stringify(new URL("bundle/", location.href).href)});
        const picture = await createImageBitmap(await (await fetch(${JSON.stringify(new URL("samples/apple.png", location.href).href)})).blob());
        postMessage((await c.classify({ image: picture })).label);
      `;
      const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), { type: "module" });
      return new Promise((told) => (worker.onmessage = ({ data }) => told(data)));
    });
    assert.equal(label, APPLE);
    assert.deepEqual(errors, []);
    await context.close();
  });

  test("under the policy that the documentation names", async () => {
    const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; connect-src 'self'; img-src data:";
    const own = keep(await serve(join(SITE, "dist"), { headers: { "content-security-policy": policy } }));
    const { page, context, errors } = await open(own.url);
    await agrees(await page.evaluate(classifyCases), await fastest(page));
    assert.deepEqual(errors, []);
    await context.close();
  });

  for (const [what, change] of [
    ["the artefact is not there", () => 404],
    ["a thread's script fails", (script) => `if (self.name === "lacuna-pool") throw new Error("no");\n${script}`],
  ]) {
    test(`no threads, because ${what}: one thread, and the console says why`, async (t) => {
      const script = await readFile(join(PACKAGE, "dist/artefacts/threads.js"), "utf8");
      const own = keep(await serve(SITE, { mounts: MOUNTS, change: (path) => (path.endsWith("/threads.js") ? change(script) : undefined) }));
      const { page, context, warnings } = await openPlain(own);
      if ((await fastest(page)) !== "threads") return t.skip("a page on one core asks for no threads");
      await agrees(await page.evaluate(classifyCases), "relaxed");
      assert.ok(warnings.some((text) => text.endsWith("It goes on with one thread.")), warnings.join());
      const forced = await page.evaluate(() => plainly(Classifier.load("bundle/", { artefact: "threads" })));
      assert.ok(["threads", "internal"].includes(forced.code), JSON.stringify(forced));
      await context.close();
    });
  }

  test("the example's page answers while one types", async () => {
    const loaded = () => document.querySelector("#loading").hidden;
    const { page, context, errors } = await open(`${built.url}example/`, { until: loaded });
    await page.locator("#image").setInputFiles(join(MOUNTS.samples, "apple.png"));
    await page.waitForFunction(() => document.querySelector("#answer").value.endsWith("from the picture alone"));
    await page.locator("#text").pressSequentially("red apple");
    await page.waitForFunction(() => /^fruit-vegetable, \d+ %$/.test(document.querySelector("#answer").value));
    assert.deepEqual(errors, []);
    await context.close();
  });
}
