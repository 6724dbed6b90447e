// Devices that lack something: room, storage, shared memory, SIMD, memory.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { DIST, PATIENCE, classify, launch, notice, open, ready } from "./browser.mjs";
import { launchIn } from "./chromium.mjs";
import { serve } from "./server.mjs";

let server;
before(async () => {
  server = await serve(DIST);
});
after(() => server?.close());

/** A visit with a browser of these arguments. */
async function visit(flags, prepare) {
  const browser = await launch(flags);
  const opened = await open(browser, server.url, { prepare });
  return { ...opened, close: () => browser.close() };
}

const kept = (page, line) => page.locator(`#kept-${line}`).textContent();

test("a quota that the model exceeds: it loads and answers, and the page says that nothing is kept", async () => {
  const quotaSize = 1_000_000;
  const prepare = async (page) => {
    const session = await page.context().newCDPSession(page);
    await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(server.url).origin, quotaSize });
  };
  const { page, errors, close } = await visit([], prepare);
  await ready(page);
  await classify(page);
  assert.match(await kept(page, "models"), /no room left for it on this device/);
  assert.match(await kept(page, "page"), /^The page itself cannot be kept: .+\.$/);
  assert.notEqual(await page.locator("#kept-offline").getAttribute("hidden"), null);
  assert.deepEqual(errors, []);
  await close();
});

test("storage that the browser blocks: the same", async () => {
  // As a visitor who lets no site store anything has it in the settings.
  const profile = await mkdtemp(join(tmpdir(), "lacuna-profile-"));
  await mkdir(join(profile, "Default"));
  const settings = { profile: { default_content_setting_values: { cookies: 2 } } };
  await writeFile(join(profile, "Default", "Preferences"), JSON.stringify(settings));
  const context = await launchIn(profile);
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(server.url);
  assert.equal(await page.evaluate(() => caches.keys().then(() => "open", () => "blocked")), "blocked");
  await ready(page);
  await classify(page);
  assert.match(await kept(page, "models"), /^Nothing can be kept in this browser: .+\.$/);
  assert.match(await kept(page, "page"), /^The page itself cannot be kept: .+\.$/);
  assert.deepEqual(errors, []);
  await context.close();
  await rm(profile, { recursive: true });
});

test("no SharedArrayBuffer: one thread", async () => {
  const { page, errors, close } = await visit([], (page) => page.addInitScript(() => delete globalThis.SharedArrayBuffer));
  await ready(page);
  await classify(page);
  assert.equal(await page.evaluate(() => typeof SharedArrayBuffer), "undefined");
  assert.equal(await page.locator("#model-computing").textContent(), "Computes with relaxed SIMD, 1 thread");
  assert.deepEqual(errors, []);
  await close();
});

test("no SIMD: the page says so, and which browsers have it", async () => {
  // V8 has none on a processor without these instructions.
  const { page, close } = await visit(["--js-flags=--no-enable-sse4-1"]);
  assert.match(await notice(page), /lacks WebAssembly SIMD.*browser of 2023 or later/s);
  assert.ok(await page.locator("#loading").isHidden());
  assert.ok(await page.locator("#notice-again").isHidden(), "to start again would not help");
  await close();
});

test("no WebAssembly at all: the same", async () => {
  const { page, close } = await visit([], (page) => page.addInitScript(() => delete globalThis.WebAssembly));
  assert.match(await notice(page), /lacks WebAssembly SIMD/);
  await close();
});

describe("memory that is refused", () => {
  test("for the model: a sentence, before anything of it is fetched", async () => {
    // Enough for the page's program, not for the model.
    const own = await serve(DIST);
    const browser = await launch(["--js-flags=--wasm-max-mem-pages=100"]);
    const { page } = await open(browser, own.url);
    assert.match(await notice(page), /no memory left for a model of \d+ bytes.*Close other tabs/s);
    assert.deepEqual(own.requests.filter((path) => /^\/bundle\/.*safetensors$/.test(path)), []);
    assert.ok(await page.locator("#notice-again").isVisible());
    await browser.close();
    await own.close();
  });

  test("for everything: a sentence", async () => {
    const { page, close } = await visit(["--js-flags=--wasm-max-mem-pages=1"]);
    assert.match(await notice(page), /program could not be started.*Reload the page/s);
    await close();
  });
});
