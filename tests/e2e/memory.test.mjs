// Memory over many posts: what the worker has of WebAssembly and of JavaScript after a thousand and after ten thousand.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile, cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { DIST, everywhere, launch, open, ready } from "./browser.mjs";
import { serve } from "./server.mjs";

const POSTS = 10_000;
/** The memory of after so many is compared with that of the end: buffers have their size by then. */
const WARM = 1000;
/** The page keeps every post's answer, some 400 bytes each; the worker's JavaScript must not grow with the posts. */
const PAGE_GROWTH = 16e6;
const WORKER_GROWTH = 4e6;
const PICTURES = ["apple", "car", "cat", "guitar", "tree"];

let browser, server, folder;
before(async () => {
  // Lets measureUserAgentSpecificMemory() collect garbage and answer at once.
  browser = await launch(["--enable-blink-features=ForceEagerMeasureMemory"]);
  server = await serve(DIST);
  folder = await mkdtemp(join(tmpdir(), "lacuna-memory-"));
});
after(async () => {
  await browser?.close();
  await server?.close();
  if (folder) await rm(folder, { recursive: true });
});

/**
 * In a worker: makes its WebAssembly memory known. In the page: one processor, so that there are no threads that sleep and
 * answer neither the test nor the browser's measuring.
 */
function watchMemory(worker) {
  if (worker === 0) {
    Object.defineProperty(navigator, "hardwareConcurrency", { get: () => 1 });
    return;
  }
  for (const name of ["instantiate", "instantiateStreaming"]) {
    const real = WebAssembly[name];
    WebAssembly[name] = async (source, imports) => {
      const made = await real.call(WebAssembly, source, imports);
      const shared = Object.values(imports ?? {}).map(({ memory }) => memory).find((memory) => memory instanceof WebAssembly.Memory);
      globalThis.programMemory = shared ?? (made.instance ?? made).exports.memory;
      return made;
    };
  }
}

/** A table of posts of all cases with pictures, in a folder. */
async function table(count) {
  const place = join(folder, String(count));
  await mkdir(join(place, "images"), { recursive: true });
  for (const name of PICTURES) await cp(`${DIST}/samples/${name}.png`, join(place, "images", `${name}.png`));
  const lines = Array.from({ length: count }, (_, i) => {
    const picture = `images/${PICTURES[i % PICTURES.length]}.png`;
    return [`${picture},a thing of number ${i}`, `${picture},`, `,a thing of number ${i}`][i % 3];
  });
  await writeFile(join(place, "data.csv"), `image,text\n${lines.join("\n")}\n`);
  return place;
}

test("10,000 classifications leave memory as it was", { timeout: 600_000 }, async (t) => {
  const { page, context, errors } = await open(browser, `${server.url}#many`, { prepare: (page) => everywhere(page, watchMemory) });
  context.setDefaultTimeout(500_000);
  await ready(page);
  const run = async (count) => {
    await page.locator("#many-folder").setInputFiles(await table(count));
    await page.waitForFunction(() => /^Classifying|done/.test(document.querySelector("#many-status").textContent));
    await page.waitForSelector("#many-summary:not([hidden])");
    assert.match(await page.locator("#many-cases").textContent(), new RegExp(`^${count.toLocaleString("en")} posts are classified`));
  };
  const measure = async () => {
    const sizes = await Promise.all(page.workers().map((worker) => worker.evaluate(() => globalThis.programMemory?.buffer.byteLength)));
    const { breakdown } = await page.evaluate(() => performance.measureUserAgentSpecificMemory());
    const of = (scope) => {
      const parts = breakdown.filter(({ attribution }) => attribution.some((one) => one.scope === scope));
      return parts.reduce((sum, { bytes }) => sum + bytes, 0);
    };
    return { program: Math.max(...sizes.filter(Boolean)), worker: of("DedicatedWorkerGlobalScope"), page: of("Window") };
  };
  await run(WARM);
  const before = await measure();
  await run(POSTS);
  const now = await measure();
  const megabytes = (what) => `${(before[what] / 1e6).toFixed(2)} MB after ${WARM}, ${(now[what] / 1e6).toFixed(2)} MB after ${POSTS} more`;
  t.diagnostic(`the worker's WebAssembly memory: ${megabytes("program")}`);
  t.diagnostic(`all of the worker, as the browser measures it: ${megabytes("worker")}`);
  t.diagnostic(`the page with its answers, as the browser measures it: ${megabytes("page")}`);
  assert.ok(before.program > 0);
  assert.equal(now.program, before.program, "WebAssembly memory grew");
  assert.ok(now.worker - before.worker < WORKER_GROWTH, `the worker grew by ${now.worker - before.worker} bytes`);
  assert.ok(now.page - before.page < PAGE_GROWTH, `the page grew by ${now.page - before.page} bytes`);
  assert.deepEqual(errors, []);
  await context.close();
});
