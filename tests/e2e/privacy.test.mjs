// Where a post goes: nowhere. A visit's network traffic as the server, the protocol of the developer tools and the browser's
// own log have it, and what lies in the storage and in the profile's files afterwards.
import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { DIST, PATIENCE, answer, classify, launch, open, ready } from "./browser.mjs";
import { launchIn } from "./chromium.mjs";
import { serve } from "./server.mjs";

/** Words and a file's name that occur nowhere else, so that every trace of them is one of the post. */
const WORDS = "quixotic marzipan periscope";
const FILE = "unmistakable-zeppelin.png";
const CLASS = "Wistful Gramophones";
/** The browser looks for a newer service worker by itself. */
const NEWS = "/offline.js";
/** What is to be seen afterwards has time to happen. */
const AFTERWARDS_MS = 5000;

let server;
before(async () => {
  server = await serve(DIST);
});
after(() => server?.close());

/** Gives posts of all cases, and reads everything that is said of them. */
async function classifyPosts(page) {
  const buffer = await readFile(`${DIST}/samples/guitar.png`);
  await page.locator("#text").fill(WORDS);
  await answer(page, "Text only: the image is missing");
  await page.locator("#image-file").setInputFiles({ name: FILE, mimeType: "image/png", buffer });
  await answer(page, "Image and text");
  await page.waitForSelector("#rests-found:not([hidden])");
  await page.locator("#text-remove").click();
  await answer(page, "Image only: the text is missing");
  await page.evaluate(() => (location.hash = "#many"));
  const table = Buffer.from(`id,text\n1,${WORDS}\n2,and ${WORDS} again\n`);
  await page.locator("#many-files").setInputFiles({ name: "posts.csv", mimeType: "text/csv", buffer: table });
  await page.waitForSelector("#many-summary:not([hidden])");
  await page.evaluate(() => (location.hash = "#post"));
}

/** Everything that the page can store, and has. */
function stored(page) {
  return page.evaluate(async () => {
    const found = { caches: {}, local: { ...localStorage }, session: { ...sessionStorage }, cookies: document.cookie };
    for (const name of await caches.keys()) {
      const cache = await caches.open(name);
      found.caches[name] = await Promise.all((await cache.keys()).map(async (key) => [key.url, await (await cache.match(key)).text()]));
    }
    found.databases = (await indexedDB.databases()).map(({ name }) => name);
    found.files = [];
    for await (const name of (await navigator.storage.getDirectory()).keys()) found.files.push(name);
    found.serviceWorkers = (await navigator.serviceWorker.getRegistrations()).length;
    return found;
  });
}

const EMPTY = { caches: {}, local: {}, session: {}, cookies: "", databases: [], files: [], serviceWorkers: 0 };

describe("the network", () => {
  test("nothing is asked for after loading: by the server's count of bytes, and by DevTools in all of the page's threads", async (t) => {
    const browser = await launch();
    const { page, context, errors } = await open(browser, server.url);
    await ready(page);
    // A second visit has no newer service worker to look for at its end.
    await page.reload();
    await ready(page);
    await page.waitForTimeout(AFTERWARDS_MS);
    const seen = await watchNetwork(browser);
    const [before, asked] = [server.traffic(), server.requests.length];
    await classifyPosts(page);
    await page.waitForTimeout(AFTERWARDS_MS);
    const now = server.traffic();
    t.diagnostic(`${now.bytes - before.bytes} bytes and ${now.connections - before.connections} connections reached the server after loading`);
    t.diagnostic(`DevTools watched: ${[...seen.targets].join(", ")}`);
    assert.deepEqual(server.requests.slice(asked), []);
    assert.deepEqual(now, before);
    for (const kind of ["page", "worker", "service_worker"]) assert.ok(seen.targets.has(kind), `${kind} is watched`);
    assert.deepEqual(seen.requests.filter((address) => !/^(blob|data):/.test(address)), []);
    assert.equal(await page.locator("#requests").textContent(), "Requests since the model was loaded: 0");
    assert.deepEqual(errors, []);
    // That the watching works: a request that is made is seen.
    await page.evaluate(() => fetch("not-there.json"));
    await page.waitForTimeout(500);
    assert.ok(seen.requests.some((address) => address.endsWith("/not-there.json")), "a request would have been seen");
    assert.ok(server.traffic().bytes > now.bytes);
    await context.close();
    await browser.close();
  });

  test("the browser's own log of a visit has connections to the page's server only, and no request after loading", async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "lacuna-log-"));
    const log = join(folder, "log.json");
    const browser = await launch([`--log-net-log=${log}`, "--net-log-capture-mode=Everything"]);
    const { page } = await open(browser, server.url);
    await ready(page);
    const loaded = Date.now();
    await classifyPosts(page);
    await page.waitForTimeout(AFTERWARDS_MS);
    await browser.close();
    const text = await readFile(log, "utf8");
    const { constants, events } = JSON.parse(text);
    const kind = Object.fromEntries(Object.entries(constants.logEventTypes).map(([name, number]) => [number, name]));
    const started = events.filter((event) => kind[event.type] === "URL_REQUEST_START_JOB" && event.params?.url);
    const own = started.filter(({ params }) => params.url.startsWith(server.url));
    assert.ok(own.length > 5, "the log has the visit");
    const late = own.filter(({ time }) => Number(time) + constants.timeTickOffset > loaded).map(({ params }) => params.url);
    t.diagnostic(`${events.length} events, ${own.length} requests of the page's, ${late.length} of them after loading: ${late}`);
    assert.deepEqual(late.filter((address) => !address.endsWith(NEWS)), []);
    const elsewhere = started.map(({ params }) => params.url).filter((address) => /^(https?|wss?):/.test(address) && !address.startsWith(server.url));
    t.diagnostic(`the browser itself asked elsewhere for: ${elsewhere.join(", ") || "nothing"}`);
    // Whoever the browser may ask on its own account, nothing of a post is in it.
    for (const trace of [WORDS, encodeURIComponent(WORDS), WORDS.replaceAll(" ", "+"), FILE]) assert.ok(!text.includes(trace), `the log has ${trace}`);
    await rm(folder, { recursive: true });
  });
});

describe("storage", () => {
  test("has nothing of a post, neither by the page's own means nor in the profile's files", async (t) => {
    const profile = await mkdtemp(join(tmpdir(), "lacuna-profile-"));
    const context = await launchIn(profile);
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    await page.goto(server.url);
    await ready(page);
    const before = await stored(page);
    await classifyPosts(page);
    await page.waitForTimeout(1000);
    assert.deepEqual(await stored(page), before, "a post changes nothing that is stored");
    assert.deepEqual({ ...before, caches: {}, serviceWorkers: 0 }, EMPTY, "only caches are used");
    assert.ok(!("lacuna-lessons" in before.caches));
    await context.close();
    const { files, bytes, found } = await search(profile, [WORDS, FILE]);
    t.diagnostic(`${files} files of the profile, ${(bytes / 1e6).toFixed(1)} MB, hold nothing of the posts`);
    assert.deepEqual(found, []);
    await rm(profile, { recursive: true });
  });

  test("of what is taught has the class and sums of features, not the post", async () => {
    const browser = await launch();
    const { page } = await open(browser, server.url);
    await ready(page);
    await teach(page);
    const { caches } = await stored(page);
    const [[, lessons]] = caches["lacuna-lessons"];
    assert.ok(lessons.includes(CLASS));
    assert.ok(!JSON.stringify(caches).includes(WORDS));
    assert.ok(!JSON.stringify(caches).includes(FILE));
    await browser.close();
  });

  test("is empty after “Forget everything”, stays so, and the page goes on", async (t) => {
    const list = JSON.parse(await readFile(`${DIST}/bundles.json`));
    list.bundles.push({ ...list.bundles[0], folder: "bundle-2/" });
    const twice = await serve(DIST, {
      mounts: { "bundle-2": `${DIST}/bundle` },
      change: (path) => (path === "/bundles.json" ? Buffer.from(JSON.stringify(list)) : undefined),
    });
    const browser = await launch();
    const { page, context, errors } = await open(browser, twice.url);
    await ready(page);
    await teach(page);
    const before = await stored(page);
    assert.deepEqual(Object.keys(before.caches).map((name) => name.split(" ")[0]).toSorted(), ["lacuna-files", "lacuna-lessons", "lacuna-page"]);
    assert.equal(before.serviceWorkers, 1);
    await forget(page);
    assert.deepEqual(await stored(page), EMPTY);
    // Nothing comes back in this visit: neither by posts, nor by loading a model once more.
    await classify(page);
    assert.equal(await page.locator("#teach-classes tr").count(), 0);
    await page.evaluate(() => document.querySelectorAll("#bundles button")[1].click());
    await page.waitForFunction(() => document.querySelectorAll("#bundles button")[1].textContent === "In use");
    await ready(page);
    await classify(page, "text");
    assert.deepEqual(await stored(page), EMPTY);
    assert.equal(await page.locator("#kept-models").textContent(), "No model is kept.");
    const usage = await page.evaluate(() => navigator.storage.estimate().then(({ usage }) => usage));
    t.diagnostic(`the browser counts ${usage} bytes of this site afterwards`);
    assert.deepEqual(errors, []);
    // And after the window is gone nothing is left, until the next visit.
    await page.close();
    const empty = await context.newPage();
    await empty.goto(`${twice.url}samples/apple.png`);
    assert.deepEqual(await stored(empty), EMPTY);
    await context.close();
    await browser.close();
    await twice.close();
  });

  test("is empty too when everything is forgotten while the model loads", async () => {
    const slow = await serve(DIST, { change: (path) => (/^\/bundle\/.*safetensors$/.test(path) ? { rate: 4_000_000 } : undefined) });
    const browser = await launch();
    const { page } = await open(browser, slow.url);
    await page.waitForFunction(() => window.seen.progress.length > 2);
    await forget(page);
    await page.waitForSelector("#model-state:not([hidden])");
    await page.waitForTimeout(1000);
    assert.deepEqual(await stored(page), EMPTY);
    await classify(page);
    await browser.close();
    await slow.close();
  });
});

/** Makes a class of a post with a text. */
async function teach(page) {
  await page.locator("#text").fill(WORDS);
  await answer(page, "Text only: the image is missing");
  await page.locator("#teach-name").fill(CLASS);
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("#teach-classes tr").length === 1);
  await page.waitForFunction(() => caches.has("lacuna-lessons"));
}

async function forget(page) {
  await page.evaluate(() => document.querySelector("#kept-forget").click());
  await page.waitForFunction(() => document.querySelector("#kept-said").textContent.startsWith("Everything is forgotten"));
}

/** Listens to the network of every target of a browser: pages, their workers, and service workers. */
async function watchNetwork(browser) {
  const session = await browser.newBrowserCDPSession();
  const seen = { targets: new Set(), requests: [] };
  let number = 0;
  const send = (sessionId, method, params = {}) =>
    session.send("Target.sendMessageToTarget", { sessionId, message: JSON.stringify({ id: ++number, method, params }) }).catch(() => undefined);
  const attached = async ({ sessionId, targetInfo }) => {
    seen.targets.add(targetInfo.type);
    await send(sessionId, "Network.enable");
  };
  session.on("Target.attachedToTarget", attached);
  session.on("Target.receivedMessageFromTarget", ({ message }) => {
    const { method, params } = JSON.parse(message);
    if (method === "Network.requestWillBeSent") seen.requests.push(params.request.url);
    if (/^Network\.(webSocketCreated|webTransportCreated)$/.test(method)) seen.requests.push(params.url);
  });
  const { targetInfos } = await session.send("Target.getTargets");
  for (const { targetId } of targetInfos) {
    await session.send("Target.attachToTarget", { targetId, flatten: false }).catch(() => undefined);
  }
  return seen;
}

/** Looks for words in all files under a folder, in the two encodings that browsers write. */
async function search(folder, words) {
  const needles = words.flatMap((word) => [Buffer.from(word, "utf8"), Buffer.from(word, "utf16le")]);
  const found = [];
  let [files, bytes] = [0, 0];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    const content = await readFile(path);
    files += 1;
    bytes += content.length;
    for (const needle of needles) if (content.includes(needle)) found.push(`${path}: ${needle}`);
  }
  return { files, bytes, found };
}
