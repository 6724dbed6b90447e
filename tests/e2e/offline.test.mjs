// Visits without a connection, and what is kept on the device for them: the page, the worker, the model.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";

import { DIST, answer, everywhere, launch, open, ready } from "./browser.mjs";
import { serve } from "./server.mjs";

const COMPLETE = "Image and text";
/** Browsers look for a newer service worker some seconds after a visit began; nothing else may be asked for then. */
const AFTERWARDS_MS = 3000;
const NEWS = "/offline.js";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** Requests for files of bundles. */
const ofBundles = (requests) => requests.filter((path) => /^\/bundle.*(safetensors|tokenizer\.json)$/.test(path));

/** Visits again in the same profile. */
async function again(context, url) {
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(url);
  await ready(page);
  return { page, errors };
}

async function classify(page) {
  await page.locator("#samples-complete button").first().click();
  return (await answer(page, COMPLETE)).label;
}

/** Everything that the page has in caches: addresses by the caches' names. */
const kept = (page) =>
  page.evaluate(async () => {
    const all = {};
    for (const name of await caches.keys()) {
      all[name] = (await (await caches.open(name)).keys()).map(({ url }) => url);
    }
    return all;
  });

describe("a server of either kind", () => {
  for (const isolated of [true, false]) {
    test(`${isolated ? "with" : "without"} the headers: the second visit needs no connection`, async (t) => {
      const server = await serve(DIST, { isolated });
      const { page, context } = await open(browser, server.url);
      await ready(page);
      const label = await classify(page);
      assert.ok(await page.locator("#kept-offline").isVisible().catch(() => false) || !(await page.locator("#kept-offline").getAttribute("hidden")));
      const computing = await page.locator("#model-computing").textContent();
      const threads = await page.evaluate(() => crossOriginIsolated);
      assert.ok(threads);

      // A second visit with a connection: nothing of the bundle is fetched, and nothing at all once the model is there.
      server.requests.length = 0;
      const second = await again(context, server.url);
      assert.deepEqual(ofBundles(server.requests), []);
      const before = server.requests.length;
      t.diagnostic(`second visit: ${[...new Set(server.requests)]}`);
      assert.equal(await classify(second.page), label);
      await second.page.waitForTimeout(AFTERWARDS_MS);
      assert.deepEqual(server.requests.slice(before).filter((path) => path !== NEWS), []);
      t.diagnostic(`the browser asked for news ${server.requests.slice(before).length} times after the model was there`);
      assert.equal(await second.page.locator("#requests").textContent(), "Requests since the model was loaded: 0");
      await second.page.close();
      await page.close();

      await context.setOffline(true);
      await server.close();
      const third = await again(context, server.url);
      assert.equal(await classify(third.page), label);
      assert.equal(await third.page.locator("#model-computing").textContent(), computing);
      assert.ok(await third.page.evaluate(() => crossOriginIsolated));
      assert.deepEqual(third.errors, []);
      // Loaded again, too.
      await third.page.reload();
      await ready(third.page);
      assert.equal(await classify(third.page), label);
      await context.close();
    });
  }
});

describe("kept files", () => {
  test("one that was damaged on the device is fetched anew, and only that one", async () => {
    const server = await serve(DIST);
    const { page, context } = await open(browser, server.url);
    await ready(page);
    const label = await classify(page);
    const damaged = await page.evaluate(async () => {
      const cache = await caches.open("lacuna-files");
      const { files } = await (await fetch("bundle/manifest.json")).json();
      const image = files.find(({ role }) => role === "image_tower");
      const key = `${origin}/kept/sha256/${image.sha256}`;
      const bytes = new Uint8Array(await (await cache.match(key)).arrayBuffer());
      bytes[bytes.length >> 1] ^= 1;
      await cache.put(key, new Response(bytes));
      return { key, name: image.name, before: await sum(await cache.match(key)) };
      async function sum(response) {
        return new Uint8Array(await crypto.subtle.digest("SHA-256", await response.arrayBuffer())).join();
      }
    });
    server.requests.length = 0;
    const second = await again(context, server.url);
    assert.deepEqual(ofBundles(server.requests), [`/bundle/${damaged.name}`]);
    assert.equal(await classify(second.page), label);
    // What is kept now is right again.
    server.requests.length = 0;
    const third = await again(context, server.url);
    assert.deepEqual(ofBundles(server.requests), []);
    assert.equal(await classify(third.page), label);
    await context.close();
    await server.close();
  });

  test("a file of a wrong checksum is never kept", async () => {
    const server = await serve(DIST);
    server.change = (path, bytes) =>
      /image.*safetensors$/.test(path) ? new Uint8Array(bytes).with(bytes.length >> 1, bytes[bytes.length >> 1] ^ 1) : undefined;
    const { page, context } = await open(browser, server.url);
    await page.waitForSelector("#notice:not([hidden])");
    const { "lacuna-files": files = [] } = await kept(page);
    const { files: listed } = JSON.parse(await readFile(`${DIST}/bundle/manifest.json`));
    const wrong = listed.filter(({ name }) => /image.*safetensors$/.test(name)).map(({ sha256 }) => sha256);
    assert.ok(wrong.length > 0);
    for (const sha256 of wrong) assert.ok(!files.some((address) => address.endsWith(sha256)));
    assert.ok(!files.some((address) => address.endsWith("manifest.json")), "a bundle that is not whole is not listed as kept");
    server.change = () => undefined;
    await page.locator("#notice-again").click();
    await ready(page);
    await classify(page);
    await context.close();
    await server.close();
  });

  for (const [what, block] of [
    ["the browser has no caches", () => Object.defineProperty(globalThis, "caches", { value: undefined })],
    ["the browser refuses to open one", () => (CacheStorage.prototype.open = () => Promise.reject(new DOMException("The operation is insecure.", "SecurityError")))],
    ["there is no room", () => (Cache.prototype.put = () => Promise.reject(new DOMException("full", "QuotaExceededError")))],
  ]) {
    test(`${what}: the model loads all the same, and the page says what is not kept`, async () => {
      const server = await serve(DIST);
      const prepare = (page) => everywhere(page, block);
      const { page, context, errors } = await open(browser, server.url, { prepare, serviceWorkers: "block" });
      await ready(page);
      await classify(page);
      assert.match(await page.locator("#kept-models").textContent(), /^Nothing can be kept in this browser: .+\.$/);
      assert.match(await page.locator("#kept-page").textContent(), /^The page itself cannot be kept: .+\.$/);
      assert.notEqual(await page.locator("#kept-offline").getAttribute("hidden"), null);
      assert.deepEqual(errors, []);
      await context.close();
      await server.close();
    });
  }

  test("everything is removed by a button, also what was taught", async () => {
    const server = await serve(DIST);
    const { page, context } = await open(browser, server.url);
    await ready(page);
    await page.evaluate(async () => {
      await (await caches.open("lacuna-lessons")).put("/lesson", new Response("x"));
      await (await caches.open("of-somebody-else")).put("/theirs", new Response("x"));
    });
    const names = Object.keys(await kept(page));
    assert.ok(names.includes("lacuna-files") && names.some((name) => name.startsWith("lacuna-page ")), String(names));
    await page.evaluate(() => document.querySelector("#kept-forget").click());
    await page.waitForFunction(() => document.querySelector("#kept-said").textContent.startsWith("Everything is forgotten"));
    assert.deepEqual(Object.keys(await kept(page)), ["of-somebody-else"]);
    assert.equal(await page.locator("#kept-models").textContent(), "No model is kept.");
    await classify(page);
    // The next visit keeps everything again.
    const second = await again(context, server.url);
    assert.ok(Object.keys(await kept(second.page)).includes("lacuna-files"));
    await context.close();
    await server.close();
  });

  test("a newer bundle takes the place of the one before, whose own files go", async () => {
    const server = await serve(DIST);
    const { page, context } = await open(browser, server.url);
    await ready(page);
    const before = (await kept(page))["lacuna-files"];
    const { manifest, tokenizer, sha256, old } = await renewed();
    server.change = (path) => (path === "/bundle/manifest.json" ? manifest : path === "/bundle/tokenizer.json" ? tokenizer : undefined);
    server.requests.length = 0;
    const second = await again(context, server.url);
    assert.deepEqual(ofBundles(server.requests), ["/bundle/tokenizer.json"], "what is the same in both is not fetched again");
    await classify(second.page);
    const now = (await kept(second.page))["lacuna-files"];
    assert.equal(now.length, before.length);
    assert.ok(now.some((address) => address.endsWith(sha256)));
    assert.ok(!now.some((address) => address.endsWith(old)));
    await context.close();
    await server.close();
  });
});

/** The bundle with another tokenizer, which says the same. */
async function renewed() {
  const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");
  const text = String(await readFile(`${DIST}/bundle/manifest.json`));
  const tokenizer = Buffer.concat([await readFile(`${DIST}/bundle/tokenizer.json`), Buffer.from("\n")]);
  const { checksum, files } = JSON.parse(text);
  const { bytes, sha256: old } = files.find(({ role }) => role === "tokenizer");
  const sha256 = hash(tokenizer);
  const entry = new RegExp(`"bytes": ${bytes},(\\s*)"sha256": "${old}"`);
  const changed = text.replace(entry, `"bytes": ${tokenizer.length},$1"sha256": "${sha256}"`);
  const manifest = changed.replace(checksum, hash(changed.replace(checksum, "0".repeat(64))));
  return { manifest: Buffer.from(manifest), tokenizer, sha256, old };
}

describe("versions of the page", () => {
  /** The built page with a mark in its title; the list of files is as the build makes it. */
  async function version(mark) {
    const html = String(await readFile(`${DIST}/index.html`)).replace("<title>", `<title>${mark} `);
    const shell = JSON.parse(await readFile(`${DIST}/shell.json`));
    shell.version = mark;
    shell.files["index.html"] = { bytes: html.length, sha256: createHash("sha256").update(html).digest("hex") };
    return (path) => (path === "/" ? Buffer.from(html) : path === "/shell.json" ? Buffer.from(JSON.stringify(shell)) : undefined);
  }
  const pages = async (page) => Object.keys(await kept(page)).filter((name) => name.startsWith("lacuna-page "));

  test("a newer one is kept whole beside the old one, and used by the next visit", async () => {
    const server = await serve(DIST, { change: await version("one") });
    const { page, context } = await open(browser, server.url);
    await ready(page);
    assert.match(await page.title(), /^one/);

    server.change = await version("two");
    const second = await again(context, server.url);
    assert.match(await second.page.title(), /^one/, "what is kept is shown at once");
    assert.deepEqual((await pages(second.page)).map((name) => name.split(" ").at(-1)), ["one", "two"]);
    assert.match(await second.page.locator("#kept-page").textContent(), /newer version is used at the next visit/);

    // As long as a window has the old one, nobody gets the new one.
    const third = await again(context, server.url);
    assert.match(await third.page.title(), /^one/);
    for (const { page: old } of [{ page }, second, third]) await old.close();

    await context.setOffline(true);
    const fourth = await again(context, server.url);
    assert.match(await fourth.page.title(), /^two/);
    assert.deepEqual((await pages(fourth.page)).map((name) => name.split(" ").at(-1)), ["two"]);
    await classify(fourth.page);
    await context.close();
    await server.close();
  });

  test("the only window gets the newer one when it is loaded again", async () => {
    const server = await serve(DIST, { change: await version("one") });
    const { page, context } = await open(browser, server.url);
    await ready(page);
    server.change = await version("two");
    await page.reload();
    await ready(page);
    assert.match(await page.title(), /^one/);
    await page.reload();
    await ready(page);
    assert.match(await page.title(), /^two/);
    await context.close();
    await server.close();
  });

  test("one that does not come whole is not used", async () => {
    const server = await serve(DIST, { change: await version("one") });
    const { page, context } = await open(browser, server.url);
    await ready(page);
    await page.close();
    const two = await version("two");
    // The list is of the newer version, the page still the old one.
    const one = await version("one");
    server.change = (path) => (path === "/shell.json" ? two(path) : one(path));
    const second = await again(context, server.url);
    assert.match(await second.page.locator("#kept-page").textContent(), /cannot be kept: index.html on the server is not the file/);
    await second.page.close();
    await context.setOffline(true);
    const third = await again(context, server.url);
    assert.match(await third.page.title(), /^one/);
    await context.close();
    await server.close();
  });
});
