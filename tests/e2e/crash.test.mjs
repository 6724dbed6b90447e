// A worker that ends by itself: it is started again, knows what it knew, and answers what was asked. And two windows.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { DIST, answer, classify, everywhere, launch, notice, open, ready } from "./browser.mjs";
import { serve } from "./server.mjs";

const TEXT_ONLY = "Text only: the image is missing";

let browser, server;
before(async () => {
  browser = await launch();
  server = await serve(DIST);
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** In a worker: ends it over certain texts as WebAssembly ends where memory is refused; over some only that worker. */
function fragile(worker) {
  if (worker === 0) return;
  addEventListener("message", (event) => {
    const words = event.data.text ?? "";
    if (!words.startsWith("always") && !words.startsWith(`once ${worker} `)) return;
    event.stopImmediatePropagation();
    throw new WebAssembly.RuntimeError("unreachable");
  });
}

async function visit(prepare = (page) => everywhere(page, fragile)) {
  const opened = await open(browser, server.url, { prepare });
  await ready(opened.page);
  return opened;
}

/** A text over which the worker of now ends, and no later one. */
const once = async (page) => `once ${await page.evaluate(() => window.workersMade)} upon a red apple`;

async function type(page, words) {
  await page.locator("#image-remove").evaluate((button) => button.hidden || button.click());
  await page.locator("#text").fill(words);
}

const workers = (page) => page.workers().length;

describe("a worker that ends", () => {
  test("is started again without a word, and the post is classified", async () => {
    const { page, context, errors } = await visit();
    const before = workers(page);
    server.requests.length = 0;
    const words = await once(page);
    await type(page, words);
    const { label } = await answer(page, TEXT_ONLY);
    await ready(page);
    assert.ok(await page.locator("#notice").isHidden());
    // None is left over, once the browser has said of the last that it is gone.
    for (let i = 0; i < 50 && workers(page) > before; i++) await page.waitForTimeout(100);
    assert.ok(workers(page) <= before, `${workers(page)} workers`);
    // All that was kept came from this device; the manifest is always asked for.
    assert.deepEqual(server.requests.filter((path) => path.startsWith("/bundle/")), ["/bundle/manifest.json"]);
    assert.equal(await page.locator("#requests").textContent(), "Requests since the model was loaded: 0");
    // Another visit's worker says the same of it.
    const plain = await visit(() => undefined);
    await type(plain.page, words);
    assert.equal((await answer(plain.page, TEXT_ONLY)).label, label);
    assert.deepEqual(errors.filter((error) => !/unreachable/.test(error)), []);
    await plain.context.close();
    await context.close();
  });

  test("also without a connection, from the second visit on", async () => {
    const { page, context } = await visit();
    // What keeps the page for visits without a connection answers for it when it is opened the next time.
    await page.reload();
    await ready(page);
    assert.ok(await page.evaluate(() => navigator.serviceWorker.controller !== null));
    await context.setOffline(true);
    await type(page, await once(page));
    await answer(page, TEXT_ONLY);
    await ready(page);
    assert.ok(await page.locator("#notice").isHidden());
    await context.close();
  });

  test("knows the classes that were taught, where the browser keeps nothing", async () => {
    const { page, context } = await visit(async (page) => {
      await everywhere(page, fragile);
      await page.addInitScript(() => (CacheStorage.prototype.open = () => Promise.reject(new DOMException("no", "SecurityError"))));
    });
    await type(page, "a zither in the snow");
    await answer(page, TEXT_ONLY);
    await page.locator("#teach-name").fill("zithers");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector("#teach-classes").textContent.includes("ithers"));
    await page.waitForFunction(() => /ithers/.test(document.querySelector("#label").textContent));
    await type(page, await once(page));
    await answer(page, TEXT_ONLY);
    await ready(page);
    await type(page, "a zither in the snow");
    await page.waitForFunction(() => /ithers/.test(document.querySelector("#label").textContent));
    await context.close();
  });

  test("over the same post twice: a sentence, and the next post is classified", async () => {
    const { page, context } = await visit();
    await type(page, "always too much");
    assert.match(await notice(page), /thread ended; most often the device has run out of memory.*Close other tabs/s);
    await page.waitForFunction(() => !document.querySelector("#result-empty").hidden);
    assert.match(await page.locator("#result-empty").textContent(), /no answer for this post/);
    await type(page, "red apple");
    await answer(page, TEXT_ONLY);
    assert.ok(await page.locator("#notice").isHidden());
    await context.close();
  });

  test("over one post of many: that one fails, and the others are classified", async () => {
    const { page, context } = await visit();
    await page.evaluate(() => (location.hash = "#many"));
    const table = "text\nred apple\nalways too much\ncup of coffee\na long time ago\nslice of pizza\n";
    await page.locator("#many-files").setInputFiles({ name: "posts.csv", mimeType: "text/csv", buffer: Buffer.from(table) });
    await page.waitForSelector("#many-summary:not([hidden])");
    assert.match(await page.locator("#many-cases").textContent(), /^4 posts are classified: .*; 1 could not be/);
    const failed = await page.locator("#many-rows tr").nth(1).textContent();
    assert.match(failed, /thread ended/);
    await context.close();
  });
});

test("two windows at once load, answer, and keep the same", async () => {
  const own = await serve(DIST);
  const { page, context, errors } = await open(browser, own.url);
  const second = await context.newPage();
  await second.goto(own.url);
  await Promise.all([ready(page), ready(second)]);
  const labels = await Promise.all([classify(page), classify(second)]);
  assert.equal(labels[0], labels[1]);
  const kept = await page.evaluate(async () => (await (await caches.open("lacuna-files")).keys()).length);
  const { files } = await page.evaluate(() => fetch("bundle/manifest.json").then((answer) => answer.json()));
  assert.equal(kept, files.length + 1);

  // What one teaches, the other knows when it is opened the next time.
  await page.locator("#teach-name").fill("Mine");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("#teach-classes").textContent.includes("Mine"));
  await second.reload();
  await ready(second);
  await second.waitForFunction(() => document.querySelector("#teach-classes").textContent.includes("Mine"));
  // One forgets everything; the other goes on with what it has.
  await second.evaluate(() => document.querySelector("#kept-forget").click());
  await second.waitForFunction(() => document.querySelector("#kept-said").textContent.startsWith("Everything is forgotten"));
  assert.equal(await classify(page, "text"), await classify(page, "text"));
  assert.deepEqual(errors, []);
  await context.close();
  await own.close();
});
