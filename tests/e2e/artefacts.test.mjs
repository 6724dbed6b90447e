// Which of the worker's artefacts a page gets, by what server and browser allow, and that all of them answer the same.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";

import { DIST, answer, launch, open, ready, startWorker } from "./browser.mjs";
import { serve } from "./server.mjs";

/** The largest difference of a logit between two artefacts. */
const TOLERANCE = 1e-4;
/** Browsers look for a newer service worker some seconds after a page was loaded, on their own; nothing else is asked. */
const AFTERWARDS_MS = 3000;
const SERVICE_WORKER = "/offline.js";

let browser, server, plain;
before(async () => {
  browser = await launch();
  server = await serve(DIST);
  plain = await serve(DIST, { isolated: false });
});
after(async () => {
  await browser?.close();
  await server?.close();
  await plain?.close();
});

/** Visits, classifies, and returns what the foot says and what was asked of the server. */
async function visit(server, options, prepare = async () => {}) {
  server.requests.length = 0;
  let loads = 0;
  const { page, context, errors } = await open(browser, server.url, {
    ...options,
    prepare: (page) => {
      // The server's count would not do: the service worker asks for the page too, to keep it.
      page.on("framenavigated", () => loads++);
      return prepare(page);
    },
  });
  await ready(page);
  await page.locator("#samples-complete button").first().click();
  await answer(page, "Image and text");
  const before = server.requests.length;
  await page.waitForTimeout(AFTERWARDS_MS);
  assert.deepEqual(server.requests.slice(before).filter((path) => path !== SERVICE_WORKER), [], "asked after loading");
  assert.equal(await page.locator("#requests").textContent(), "Requests since the model was loaded: 0");
  const seen = {
    computing: await page.locator("#model-computing").textContent(),
    loads,
    registered: await page.evaluate(async () => (await navigator.serviceWorker?.getRegistrations())?.length ?? 0),
    errors,
  };
  await context.close();
  return seen;
}

/** How many threads the page should use: Chromium's cores, at most 8. */
async function cores() {
  const page = await browser.newPage();
  const count = await page.evaluate(() => navigator.hardwareConcurrency);
  await page.close();
  return Math.min(count, 8);
}

describe("the artefact that the page gets", () => {
  test("a server that isolates: threads, at once", async () => {
    const count = await cores();
    const { computing, loads, registered, errors } = await visit(server);
    assert.equal(computing, count > 1 ? `Computes with relaxed SIMD, ${count} threads` : "Computes with relaxed SIMD, 1 thread");
    assert.deepEqual([loads, registered, errors], [1, 1, []]);
  });

  test("any other server: threads, after the page was loaded once more", async () => {
    const count = await cores();
    const { computing, loads, registered, errors } = await visit(plain);
    assert.equal(computing, count > 1 ? `Computes with relaxed SIMD, ${count} threads` : "Computes with relaxed SIMD, 1 thread");
    assert.deepEqual([loads, registered, errors], [2, 1, []]);
  });

  test("no service workers: relaxed SIMD on one thread", async () => {
    const { computing, loads } = await visit(plain, { serviceWorkers: "block" });
    assert.equal(computing, "Computes with relaxed SIMD, 1 thread");
    assert.ok(loads <= 2);
  });

  test("a browser without relaxed SIMD: the baseline", async () => {
    const { computing, errors } = await visit(server, {}, (page) =>
      page.addInitScript(() => {
        const { validate } = WebAssembly;
        // The module that tries relaxed instructions has 40 bytes.
        WebAssembly.validate = (code) => code.byteLength !== 40 && validate(code);
      }),
    );
    assert.equal(computing, "Computes with SIMD, 1 thread");
    assert.deepEqual(errors, []);
  });

  for (const [what, change] of [
    ["the artefact is not there", () => 404],
    ["its memory cannot be had", (script) => script.replace("new WebAssembly.Memory(", "new WebAssembly.Memory(1, ")],
    ["a thread's script fails", (script) => `if (self.name === "lacuna-pool") throw new Error("no");\n${script}`],
    ["threads never answer", (script) => `if (self.name === "lacuna-pool") await new Promise(() => {});\n${script}`],
  ]) {
    test(`no threads, because ${what}: relaxed SIMD on one thread, and the page says so`, async (t) => {
      if ((await cores()) < 2) return t.skip("a page on one core asks for no threads");
      const script = await readFile(`${DIST}/workers/threads.js`, "utf8");
      const own = await serve(DIST, { change: (path) => (path.endsWith("/threads.js") ? change(script) : undefined) });
      const { computing } = await visit(own);
      await own.close();
      assert.equal(computing, "Computes with relaxed SIMD, 1 thread; more could not be started");
    });
  }
});

test("all artefacts answer the same, on any number of threads", async (t) => {
  const page = await (await browser.newContext()).newPage();
  // An empty page of this origin, isolated but without a policy.
  server.change = (path) => (path === "/" ? Buffer.from("") : undefined);
  await page.goto(server.url);
  server.change = () => undefined;
  const pictures = await Promise.all(
    ["apple", "car", "cat", "guitar"].map(async (name) => [`a ${name}`, (await readFile(`${DIST}/samples/${name}.png`)).toString("base64")]),
  );
  const posts = pictures.flatMap(([text, image]) => [[image, text], [image, null], [null, text]]);
  const answers = new Map();
  for (const [artefact, threads] of [["baseline"], ["relaxed"], ["threads", 1], ["threads", 2], ["threads", 5]]) {
    const { summary } = await page.evaluate(startWorker, { artefact, threads });
    assert.equal(summary.artefact, artefact);
    assert.equal(summary.threads, threads ?? 1);
    const events = [];
    for (const [id, [image, text]] of posts.entries()) {
      events.push(await page.evaluate(([id, image, text]) => window.classify(id, image, text), [id, image, text]));
    }
    answers.set(`${artefact} ${threads ?? 1}`, events);
    const times = events.map((event) => event.milliseconds).sort((a, b) => a - b);
    t.diagnostic(`${artefact}, ${threads ?? 1} threads: ${times[times.length >> 1].toFixed(1)} ms (median)`);
    await page.evaluate(() => window.worker.terminate());
  }
  const logits = (event) => new Map(event.prediction.classes.map((entry) => [entry.index, entry.logit]));
  for (const [name, events] of answers) {
    let worst = 0;
    for (const [index, event] of events.entries()) {
      const wanted = answers.get("baseline 1")[index];
      assert.equal(event.prediction.index, wanted.prediction.index, name);
      const here = logits(event);
      for (const [index, logit] of logits(wanted)) worst = Math.max(worst, Math.abs(logit - here.get(index)));
    }
    t.diagnostic(`${name}: logits differ by at most ${worst.toExponential(2)}`);
    assert.ok(worst <= TOLERANCE, `${name}: ${worst}`);
  }
});
