// The choice among models: the list, the question before a large one, and the visitor's own from folders and archives.
import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { crc32, deflateRawSync } from "node:zlib";

import { DIST, answer, launch, open, ready } from "./browser.mjs";
import { serve } from "./server.mjs";

const BUNDLE = `${DIST}/bundle`;
let browser, server, folder;
before(async () => {
  browser = await launch();
  server = await serve(DIST);
  folder = await mkdtemp(join(tmpdir(), "lacuna-bundles-"));
});
after(async () => {
  await browser?.close();
  await server?.close();
  if (folder) await rm(folder, { recursive: true });
});

const ofBundles = (requests) => requests.filter((path) => path.startsWith("/bundle/"));
const rows = (page) => page.locator("#bundles li");
const buttons = (page) => page.locator("#bundles button");

async function classify(page) {
  await page.evaluate(() => document.querySelector("#samples-complete button").click());
  return (await answer(page, "Image and text")).label;
}

/** Waits until this row of the list is in use. */
async function inUse(page, place) {
  await page.waitForFunction(
    (place) => document.querySelectorAll("#bundles button")[place]?.textContent === "In use",
    place,
  );
  await ready(page);
}

describe("the list", () => {
  /** The list with the bundle once more, and changes to the entries. */
  async function listed(change) {
    const list = JSON.parse(await readFile(`${DIST}/bundles.json`));
    const [first] = list.bundles;
    list.bundles = change(first);
    return (path) => (path === "/bundles.json" ? Buffer.from(JSON.stringify(list)) : undefined);
  }

  test("says size, weights, licence and accuracy, and marks the one in use", async () => {
    const { page, context } = await open(browser, server.url);
    await ready(page);
    const text = await rows(page).first().textContent();
    const { about } = JSON.parse(await readFile(`${BUNDLE}/manifest.json`));
    for (const wanted of [about.name, about.description, "MB in single precision", "24 classes", about.licence, "% with both sides", "Kept on this device", "In use"]) {
      assert.ok(text.includes(wanted), `${wanted}: ${text}`);
    }
    await context.close();
  });

  test("another one is loaded when it is chosen, and only then", async () => {
    const own = await serve(DIST, {
      mounts: { "bundle-2": BUNDLE },
      change: await listed((first) => [first, { ...first, folder: "bundle-2/", about: { ...first.about, name: "<b>Another</b>" } }]),
    });
    const { page, context } = await open(browser, own.url);
    await ready(page);
    assert.ok(!own.requests.some((path) => path.startsWith("/bundle-2/")));
    assert.ok((await rows(page).nth(1).textContent()).includes("<b>Another</b>"), "names are text");
    await buttons(page).nth(1).evaluate((button) => button.click());
    await inUse(page, 1);
    assert.equal(await buttons(page).nth(0).textContent(), "Load");
    // The same files are kept under the same checksums.
    assert.deepEqual(own.requests.filter((path) => path.startsWith("/bundle-2/")), ["/bundle-2/manifest.json"]);
    await classify(page);
    await page.waitForTimeout(500);
    assert.equal(await page.locator("#requests").textContent(), "Requests since the model was loaded: 0");
    await context.close();
    await own.close();
  });

  test("a large one is fetched only after the visitor agreed, and the next time without a question", async () => {
    const own = await serve(DIST, { change: await listed((first) => [{ ...first, bytes: 153e6 }]) });
    const { page, context } = await open(browser, own.url);
    await page.waitForSelector("#question:not([hidden])");
    assert.match(await page.locator("#question").textContent(), /153.0 MB/);
    await page.waitForTimeout(500);
    assert.deepEqual(ofBundles(own.requests), []);
    await page.locator("#question-load").click();
    await ready(page);
    await classify(page);
    assert.ok(await page.locator("#question").isHidden());
    const second = await context.newPage();
    await second.goto(own.url);
    await ready(second);
    await context.close();
    await own.close();
  });

  test("whoever saves data is asked for every model", async () => {
    const prepare = (page) =>
      page.addInitScript(() => Object.defineProperty(Navigator.prototype, "connection", { get: () => ({ saveData: true }) }));
    const { page, context } = await open(browser, server.url, { prepare });
    await page.waitForSelector("#question:not([hidden])");
    await page.locator("#question-load").click();
    await ready(page);
    await context.close();
  });

  test("without a list the page loads the bundle beside it", async () => {
    const own = await serve(DIST, { change: (path) => (path === "/bundles.json" ? 404 : undefined) });
    const { page, context } = await open(browser, own.url);
    await ready(page);
    await classify(page);
    await context.close();
    await own.close();
  });
});

describe("the visitor's own", () => {
  let opened, page;
  before(async () => {
    opened = await open(browser, server.url);
    page = opened.page;
    await ready(page);
  });
  after(() => opened?.context.close());

  /** Gives a folder or an archive, and waits until it is in use. */
  async function give(id, path) {
    const place = await rows(page).count();
    server.requests.length = 0;
    await page.locator(id).setInputFiles(path);
    await inUse(page, place);
    assert.ok((await rows(page).nth(place).textContent()).includes("Your own files"));
    await classify(page);
    assert.deepEqual(ofBundles(server.requests), []);
  }

  test("a folder", async () => {
    const outer = join(folder, "outer", "bundle");
    await mkdir(outer, { recursive: true });
    await cp(BUNDLE, outer, { recursive: true });
    await give("#bundle-folder", outer);
  });

  for (const [what, options] of [
    ["stored", { deflate: false }],
    ["deflated", { deflate: true }],
    ["deflated, in a folder, with a comment and other files", { deflate: true, inside: "exported/", comment: "made by hand", more: true }],
  ]) {
    test(`a .zip, ${what}`, async () => {
      const path = join(folder, "model.zip");
      await writeFile(path, await zip(await bundle(options.inside, options.more), options));
      await give("#bundle-archive", path);
    });
  }

  test("a dropped .zip", async () => {
    const bytes = await zip(await bundle(), { deflate: true });
    const place = await rows(page).count();
    const handle = await page.evaluateHandle((base64) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], "model.zip"));
      return data;
    }, bytes.toString("base64"));
    await page.evaluate(
      (data) => document.querySelector("#view-model").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })),
      handle,
    );
    await inUse(page, place);
  });

  for (const [what, make, sentence] of [
    ["no archive", async () => Buffer.from("Dear reader"), /“broken.zip” is no .zip archive, or is cut short/],
    ["an archive cut short", async () => (await zip(await bundle(), {})).subarray(0, 100_000), /“broken.zip” is no .zip archive, or is cut short/],
    ["an archive whose middle is gone", async () => gap(await zip(await bundle(), {})), /“broken.zip” .*(damaged|cut short)/],
    ["an archive of something else", async () => zip([["letter.txt", Buffer.from("Dear reader")]], {}), /has no manifest.json/],
    ["a model for training", async () => zip([["clip/config.json", Buffer.from("{}")], ["clip/model.safetensors", Buffer.from("x")]], {}), /files as they are trained from/],
    ["two bundles", async () => zip([["a/manifest.json", Buffer.from("{}")], ["b/manifest.json", Buffer.from("{}")]], {}), /several bundles/],
    ["another program's manifest", async () => zip([["manifest.json", Buffer.from('{"name": "app"}')]], {}), /no Lacuna manifest/],
    ["a manifest that unpacks to far too much", async () => zip([["manifest.json", Buffer.alloc(64 << 20, 32)]], { deflate: true }), /no Lacuna manifest/],
    ["a bundle without its weights", async () => zip((await bundle()).filter(([name]) => !name.endsWith(".safetensors")), {}), /is not whole: it has no .*safetensors/],
    ["members packed in another way", async () => zip(await bundle(), { method: 93 }), /compressed in a way that browsers cannot read/],
    ["encrypted members", async () => zip(await bundle(), { flags: 1 }), /encrypted; pack it without a password/],
  ]) {
    test(`${what}: a sentence, and the model in use stays`, async () => {
      const path = join(folder, "broken.zip");
      await writeFile(path, await make());
      await page.locator("#bundle-archive").setInputFiles(path);
      await page.waitForSelector("#notice:not([hidden])");
      assert.match(await page.locator("#notice").innerText(), sentence);
      await classify(page);
      await page.evaluate(() => document.querySelector("#notice-close").click());
    });
  }

  test("weights that were changed are found out by the worker", async () => {
    const files = await bundle();
    const weights = files.find(([name]) => /image.*safetensors$/.test(name));
    weights[1] = Buffer.from(weights[1]);
    weights[1][weights[1].length >> 1] ^= 1;
    const path = join(folder, "changed.zip");
    await writeFile(path, await zip(files, { deflate: true }));
    await page.locator("#bundle-archive").setInputFiles(path);
    await page.waitForSelector("#notice:not([hidden])");
    assert.match(await page.locator("#notice").innerText(), /is damaged: its checksum/);
    await buttons(page).first().evaluate((button) => button.click());
    await inUse(page, 0);
    await classify(page);
  });

  test("nothing of all this was kept", async () => {
    const names = await page.evaluate(async () => (await (await caches.open("lacuna-files")).keys()).length);
    assert.equal(names, (await readdir(BUNDLE)).filter((name) => name !== "README.md").length);
    assert.deepEqual(opened.errors, []);
  });
});

/** The bundle's files by their names. */
async function bundle(inside = "", more = false) {
  const files = await Promise.all((await readdir(BUNDLE)).map(async (name) => [inside + name, await readFile(join(BUNDLE, name))]));
  if (more) files.unshift(["__MACOSX/._manifest.json", Buffer.from("x")], ["notes/", Buffer.alloc(0)], ["notes/a.txt", Buffer.from("x")]);
  return files;
}

/** Takes a piece out, so that the directory's places are wrong. */
const gap = (bytes) => Buffer.concat([bytes.subarray(0, 1000), bytes.subarray(500_000)]);

/** An archive as the format has it. */
function zip(files, { deflate = false, comment = "", method = deflate ? 8 : 0, flags = 0 }) {
  const [parts, directory] = [[], []];
  let at = 0;
  for (const [name, content] of files) {
    const data = deflate ? deflateRawSync(content, { level: 1 }) : content;
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(flags, 2);
    common.writeUInt16LE(method, 4);
    common.writeUInt32LE(crc32 ? crc32(content) : 0, 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(content.length, 18);
    common.writeUInt16LE(name.length, 22);
    const place = Buffer.alloc(14);
    place.writeUInt32LE(at, 10);
    parts.push(Buffer.from("PK\x03\x04"), common, Buffer.from(name), data);
    directory.push(Buffer.from("PK\x01\x02\x14\x00"), common, place, Buffer.from(name));
    at += 30 + name.length + data.length;
  }
  const list = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06");
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(list.length, 12);
  end.writeUInt32LE(at, 16);
  end.writeUInt16LE(comment.length, 20);
  return Buffer.concat([...parts, list, end, Buffer.from(comment)]);
}
