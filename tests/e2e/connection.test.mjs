// Bad connections: slow, broken off in the middle of a file, gone for a while, and files that are not what they should be.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";

import { DIST, classify, launch, notice, open, ready } from "./browser.mjs";
import { serve } from "./server.mjs";

const IMAGE = /^\/bundle\/image.*safetensors$/;
/** Bytes a second of the slow connection: the model takes some seconds. */
const RATE = 2_000_000;

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** A visit to a server that changes its answers. */
async function visit(options, prepare) {
  const server = await serve(DIST, options);
  const { page, context, errors } = await open(browser, server.url, { prepare });
  const close = async () => {
    await context.close();
    await server.close();
  };
  return { server, page, context, errors, close };
}

/** The checksums under which files are kept on this device. */
const kept = (page) =>
  page.evaluate(async () => {
    const keys = await (await caches.open("lacuna-files")).keys();
    return keys.map(({ url }) => url.split("/kept/sha256/")[1]).filter(Boolean);
  });

const checksum = async (pattern) => {
  const { files } = JSON.parse(await readFile(`${DIST}/bundle/manifest.json`));
  return files.find(({ name }) => pattern.test(`/bundle/${name}`)).sha256;
};

const changed = (bytes) => new Uint8Array(bytes).with(bytes.length >> 1, bytes[bytes.length >> 1] ^ 1);

test("a slow one: the bar moves, the page takes a post meanwhile, and answers it", async (t) => {
  const { page, errors, close } = await visit({ change: (path) => (/^\/bundle\/.*safetensors$/.test(path) ? { rate: RATE } : undefined) });
  await page.waitForFunction(() => window.seen.progress.length > 2);
  await page.locator("#text").fill("red apple");
  assert.equal(await page.locator("#text").inputValue(), "red apple");
  await page.waitForFunction(() => /as soon as the model is loaded/.test(document.querySelector("#result-empty").textContent));
  await page.waitForSelector("#result-body:not([hidden])");
  const progress = await page.evaluate(() => window.seen.progress);
  t.diagnostic(`the bar moved ${progress.length} times`);
  assert.ok(progress.length > 10, `${progress.length} steps`);
  for (let i = 1; i < progress.length; i++) assert.ok(progress[i][0] >= progress[i - 1][0]);
  assert.deepEqual(errors, []);
  await close();
});

describe("one that breaks off in the middle of a file", () => {
  /** Breaks the image tower off after these parts of it, one after the other; notes what was asked for. */
  function breaking(parts) {
    const asked = [];
    const change = (path, bytes, range) => {
      if (!IMAGE.test(path)) return undefined;
      asked.push(range ?? "all");
      const part = parts.shift();
      return part === undefined ? undefined : { cut: Math.round(bytes.length * part) };
    };
    return { asked, change };
  }

  test("the rest is fetched, twice if need be, and nothing of it again", async (t) => {
    const { asked, change } = breaking([0.4, 0.3]);
    const { page, close } = await visit({ change });
    await ready(page);
    await classify(page);
    t.diagnostic(`asked for ${asked.join(", ")}`);
    assert.equal(asked.length, 3);
    assert.equal(asked[0], "all");
    const [second, third] = asked.slice(1).map((range) => Number(/^bytes=(\d+)-$/.exec(range)[1]));
    assert.ok(second > 0 && third > second, "each goes on where the one before ended");
    assert.ok((await kept(page)).includes(await checksum(IMAGE)), "what came in parts is kept like any other");
    assert.ok(await page.locator("#notice").isHidden());
    const progress = await page.evaluate(() => window.seen.progress);
    for (let i = 1; i < progress.length; i++) assert.ok(progress[i][0] >= progress[i - 1][0], "the bar never goes back");
    await close();
  });

  test("from a server that sends whole files only, the file is fetched anew", async () => {
    const { asked, change } = breaking([0.4]);
    const { page, close } = await visit({ change, ranges: false });
    await ready(page);
    await classify(page);
    assert.equal(asked.length, 2);
    await close();
  });

  test("again and again: a sentence, and starting again works", async () => {
    const { change } = breaking(Array(6).fill(0.01));
    const { server, page, close } = await visit({ change });
    assert.match(await notice(page), /^Bundle image.*safetensors: the connection was refused or broke off.*Check the connection/s);
    server.change = () => undefined;
    await page.locator("#notice-again").click();
    await ready(page);
    await classify(page);
    await close();
  });
});

describe("a file of a wrong checksum", () => {
  test("on the server: asked for once more past every cache, refused with a sentence, and not kept", async () => {
    const asked = [];
    const change = (path, bytes) => {
      if (!IMAGE.test(path)) return undefined;
      asked.push(path);
      return changed(bytes);
    };
    const { page, server, close } = await visit({ change });
    assert.match(await notice(page), /^Bundle image.*safetensors: is damaged: its checksum.*Reload/s);
    assert.equal(asked.length, 2);
    assert.ok(!(await kept(page)).includes(await checksum(IMAGE)));
    server.change = () => undefined;
    await page.locator("#notice-again").click();
    await ready(page);
    await classify(page);
    await close();
  });

  test("in the browser's own cache: what it has is passed over", async () => {
    let damaged = true;
    const change = (path, bytes) => (IMAGE.test(path) && damaged ? changed(bytes) : undefined);
    // The first answer may be kept by the browser for an hour.
    const { page, server, close } = await visit({ change, headers: { "cache-control": "max-age=3600" } });
    await page.evaluate(() => fetch("bundle/image-00.safetensors").then((answer) => answer.arrayBuffer()));
    assert.match(await notice(page), /is damaged/);
    damaged = false;
    server.requests.length = 0;
    await page.locator("#notice-again").click();
    await ready(page);
    await classify(page);
    assert.ok(await page.locator("#notice").isHidden());
    await close();
  });

  test("on this device, while the server's is wrong too: what was kept is dropped", async () => {
    const { page, server, context, close } = await visit({});
    await ready(page);
    const sha256 = await checksum(IMAGE);
    await page.evaluate(async (sha256) => {
      const cache = await caches.open("lacuna-files");
      const key = `${origin}/kept/sha256/${sha256}`;
      const bytes = new Uint8Array(await (await cache.match(key)).arrayBuffer());
      bytes[bytes.length >> 1] ^= 1;
      await cache.put(key, new Response(bytes));
    }, sha256);
    await page.close();
    server.change = (path, bytes) => (IMAGE.test(path) ? changed(bytes) : undefined);
    const second = await context.newPage();
    await second.goto(server.url);
    assert.match(await notice(second), /is damaged: its checksum/);
    assert.ok(!(await kept(second)).includes(sha256));
    await close();
  });
});

test("a bundle of a newer format, also where an older one is kept: a sentence, and nothing of it is fetched", async () => {
  const { page, server, context, close } = await visit({});
  await ready(page);
  const label = await classify(page);
  await page.close();
  const text = String(await readFile(`${DIST}/bundle/manifest.json`)).replace(/"format_version": \d+/, '"format_version": 99');
  const sum = JSON.parse(text).checksum;
  const zeros = text.replace(sum, "0".repeat(64));
  const newer = text.replace(sum, createHash("sha256").update(zeros).digest("hex"));
  server.change = (path) => (path === "/bundle/manifest.json" ? Buffer.from(newer) : undefined);
  server.requests.length = 0;
  const second = await context.newPage();
  await second.goto(server.url);
  assert.match(await notice(second), /newer than this program/);
  assert.deepEqual(server.requests.filter((path) => path.startsWith("/bundle/") && !path.endsWith("manifest.json")), []);
  server.change = () => undefined;
  await second.locator("#notice-again").click();
  await ready(second);
  assert.equal(await classify(second), label);
  await close();
});
