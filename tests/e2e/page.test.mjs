// The page as a visitor meets it: loading, the three cases, every way in, what goes wrong, and what it promises.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { deflateSync } from "node:zlib";

import { DIST, answer, launch, open, ready } from "./browser.mjs";
import { serve } from "./server.mjs";

const CASES = {
  complete: "Image and text",
  image: "Image only: the text is missing",
  text: "Text only: the image is missing",
};
/** The page's thread must answer a key or a click at once, also while the worker works. */
const LONGEST_TASK = 50;

let browser, server, url, opened, page;
const drawing = (name) => readFile(`${DIST}/samples/${name}.png`);
const sample = (list, index = 0) => page.locator(`#samples-${list} button`).nth(index);

before(async () => {
  browser = await launch();
  server = await serve(DIST);
  url = process.env.LACUNA_URL ?? server.url;
});
after(async () => {
  await browser?.close();
  await server?.close();
});

describe("a visit", () => {
  before(async () => {
    opened = await open(browser, url);
    page = opened.page;
    await ready(page);
  });
  after(() => opened?.context.close());

  test("the bar counts bytes up to the bundle's total", async () => {
    const progress = await page.evaluate(() => window.seen.progress);
    const manifest = JSON.parse(await readFile(`${DIST}/bundle/manifest.json`));
    const total = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
    assert.ok(progress.length > 2, "the bar moved");
    assert.deepEqual(progress.at(-1), [total, total]);
    for (let i = 1; i < progress.length; i++) assert.ok(progress[i][0] >= progress[i - 1][0]);
    assert.ok(await page.locator("#loading").isHidden());
  });

  for (const [list, kase] of Object.entries(CASES)) {
    test(`a sample: ${kase}`, async () => {
      await sample(list).click();
      const shown = await answer(page, kase);
      assert.match(shown.probability, /%$/);
      assert.match(shown.time, /ms$/);
      assert.ok(shown.spoken.startsWith(shown.label), "the result is announced");
      assert.equal(shown.rows.length, 5);
      for (const { cells } of shown.rows) {
        const [, image, text] = cells;
        assert.equal(image.missing, list === "text");
        assert.equal(text.missing, list === "image");
        for (const bar of [image, text]) assert.equal(bar.figure === "missing", bar.missing);
      }
      // The likeliest class has the longest bar of probability, and some evidence can be seen.
      await page.waitForFunction(() => document.getAnimations().length === 0);
      const widths = (await answer(page, kase)).rows.map((row) => row.cells[0].width);
      assert.ok(widths.every((width, i) => i === 0 || width <= widths[i - 1] + 0.5));
    });
  }

  test("the answer follows the typing, and a text of spaces is a missing text", async () => {
    await page.locator("#text").fill("   ");
    await page.waitForSelector("#result-empty:not([hidden])");
    await page.locator("#text").fill("");
    await page.locator("#text").pressSequentially("a bowl of soup", { delay: 15 });
    const first = await answer(page, CASES.text);
    assert.equal(await page.evaluate(() => document.activeElement.id), "text", "the focus stays in the field");
    await page.locator("#text").fill("a steam locomotive on a railway");
    await page.waitForFunction(
      (before) => document.querySelector("#classes").textContent !== before,
      first.rows.map((row) => row.label + row.cells.map((cell) => cell.figure).join("")).join(""),
    );
  });

  test("a picked file joins the text, and each side can be removed", async () => {
    await page.locator("#text").fill("red car");
    await page.locator("#image-file").setInputFiles({ name: "car.png", mimeType: "image/png", buffer: await drawing("car") });
    await answer(page, CASES.complete);
    assert.equal(await page.locator("#image-name").textContent(), "car.png");
    await page.locator("#text-remove").click();
    await answer(page, CASES.image);
    assert.equal(await page.evaluate(() => document.activeElement.id), "text");
    await page.locator("#image-remove").click();
    await page.waitForSelector("#result-empty:not([hidden])");
    assert.equal(await page.evaluate(() => document.activeElement.id), "image-file");
  });

  for (const way of ["pasted", "dropped"]) {
    test(`a picture is ${way}`, async () => {
      await page.locator("#text").fill("");
      await give(way, { bytes: [...(await drawing("tree"))], name: `${way}.png`, type: "image/png" });
      await page.waitForFunction((name) => document.querySelector("#image-name").textContent === name, `${way}.png`);
      await answer(page, CASES.image);
    });
  }

  test("words are dropped, and an address is refused with the reason", async () => {
    await page.locator("#image-remove").click();
    await give("dropped", { words: "a glass of lemonade" });
    await answer(page, CASES.text);
    assert.equal(await page.locator("#text").inputValue(), "a glass of lemonade");
    await give("dropped", { address: `${url}samples/cat.png` });
    assert.match(await page.locator("#notice").innerText(), /makes no requests.*Save the picture/s);
    await page.locator("#notice-close").click();
    assert.ok(await page.locator("#notice").isHidden());
  });

  test("everything can be done with the keyboard", async () => {
    await page.evaluate(() => document.activeElement.blur());
    const reached = [];
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press("Tab");
      reached.push(
        await page.evaluate(() => document.activeElement.id || document.activeElement.closest("ul")?.id || document.activeElement.tagName),
      );
    }
    for (const id of ["image-file", "text", "text-remove", "samples-complete", "samples-image", "samples-text", "SUMMARY"]) {
      assert.ok(reached.includes(id), `Tab reaches ${id}: ${[...new Set(reached)]}`);
    }
    await sample("complete", 1).focus();
    await page.keyboard.press("Enter");
    await answer(page, CASES.complete);
    await page.locator("#image-remove").focus();
    await page.keyboard.press("Enter");
    await answer(page, CASES.text);
  });

  for (const [what, name, type, bytes, sentence] of [
    ["a broken picture", "broken.png", "image/png", async () => (await drawing("apple")).subarray(0, 700), /^Image: .*Choose another picture/s],
    ["a file that only claims to be a picture", "letter.png", "image/png", async () => Buffer.from("Dear reader"), /^Image: .*Choose another picture/s],
    ["a picture of 100 megapixels", "bomb.png", "image/png", async () => bomb(), /^Image: .*Choose another picture/s],
    ["a file of another kind", "letter.txt", "text/plain", async () => Buffer.from("Dear reader"), /“letter.txt” is no picture.*Choose a PNG/s],
  ]) {
    test(`${what} gets a sentence, and the page goes on`, async () => {
      await page.locator("#image-file").setInputFiles({ name, mimeType: type, buffer: await bytes() });
      await page.waitForSelector("#notice:not([hidden])");
      assert.match(await page.locator("#notice").innerText(), sentence);
      await sample("text").click();
      await answer(page, CASES.text);
      assert.ok(await page.locator("#notice").isHidden());
    });
  }

  test("the page's thread stays free while the worker works", async (t) => {
    const times = [];
    const longest = [];
    // What blocks the page blocks it every time; what another program of the machine takes away, it takes once.
    for (let round = 0; round < 3; round++) {
      const start = await page.evaluate(() => performance.now());
      for (let index = 0; index < 4; index++) {
        for (const [list, kase] of Object.entries(CASES)) {
          await sample(list, index).click();
          times.push(parseFloat((await answer(page, kase)).time));
        }
      }
      const tasks = (await page.evaluate(() => window.seen.tasks)).filter((task) => task.start > start);
      longest.push(Math.max(0, ...tasks.map((task) => task.length)));
    }
    times.sort((a, b) => a - b);
    t.diagnostic(`an answer takes ${times[times.length >> 1]} ms (median of ${times.length}, slowest ${times.at(-1)} ms)`);
    t.diagnostic(`longest task of the page by round: ${longest.join(", ")} ms (0: none over 50)`);
    assert.ok(Math.min(...longest) <= LONGEST_TASK, `tasks of ${longest} ms`);
  });

  test("nothing was fetched since the model was loaded, and nothing ever from elsewhere", async () => {
    assert.equal(await page.locator("#requests").textContent(), "Requests since the model was loaded: 0");
    const fetched = opened.requests.filter((address) => !address.startsWith("blob:"));
    assert.deepEqual(fetched.filter((address) => !address.startsWith(url)), []);
    const before = server.requests.length;
    await sample("complete").click();
    await answer(page, CASES.complete);
    assert.equal(opened.requests.filter((address) => !address.startsWith("blob:")).length, fetched.length);
    assert.equal(server.requests.length, before);
  });

  test("no error went to the console", () => assert.deepEqual(opened.errors, []));
});

describe("a bundle that cannot be loaded", () => {
  for (const [what, path, change, sentence] of [
    ["one byte changed", /image.*safetensors$/, (bytes) => bytes.with(bytes.length >> 1, bytes[bytes.length >> 1] ^ 1), /damaged.*checksum.*Reload/s],
    ["a file cut short", /tokenizer\.json$/, (bytes) => bytes.subarray(0, bytes.length - 9), /bytes instead of.*Reload/s],
    ["a manifest changed", /manifest\.json$/, (bytes) => Buffer.from(String(Buffer.from(bytes)).replace(/"name": "/, '"name": "X')), /manifest.json: was changed or damaged.*Reload/s],
    ["a newer format", /manifest\.json$/, (bytes) => Buffer.from(String(Buffer.from(bytes)).replace(/"format_version": \d+/, '"format_version": 99')), /newer than this program/],
    ["no bundle", /manifest\.json$/, () => 404, /manifest.json: the server answers 404.*beside the page/s],
  ]) {
    test(`${what}: a sentence, and starting again works once it is repaired`, async () => {
      const own = await serve(DIST, { change: (path_, bytes) => (path.test(path_) ? change(new Uint8Array(bytes)) : undefined) });
      const { page, context } = await open(browser, own.url);
      await page.waitForSelector("#notice:not([hidden])");
      assert.match(await page.locator("#notice").innerText(), sentence);
      assert.ok(await page.locator("#loading").isHidden());
      await page.locator("#text").fill("red apple");
      own.change = () => undefined;
      await page.locator("#notice-again").click();
      await ready(page);
      await answer(page, CASES.text);
      assert.ok(await page.locator("#notice").isHidden());
      await context.close();
      await own.close();
    });
  }
});

/** A PNG of 10,000 by 10,000 black pixels: a few kilobytes that would unpack to hundreds of megabytes. */
function bomb() {
  const crc32 = (bytes) => {
    let sum = ~0;
    for (const byte of bytes) {
      sum ^= byte;
      for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
    }
    return ~sum >>> 0;
  };
  const chunk = (name, data) => {
    const body = Buffer.concat([Buffer.from(name), data]);
    const frame = Buffer.alloc(8);
    frame.writeUInt32BE(data.length, 0);
    frame.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
  };
  const [header, side] = [Buffer.alloc(13), 10_000];
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header[8] = 1;
  return Buffer.concat([
    Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(Buffer.alloc(side * (side / 8 + 1)))),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

/** Pastes or drops a file, words, or an address. */
function give(way, what) {
  return page.evaluate(
    ([way, { bytes, name, type, words, address }]) => {
      const data = new DataTransfer();
      if (bytes) data.items.add(new File([new Uint8Array(bytes)], name, { type }));
      if (words) data.setData("text/plain", words);
      if (address) data.setData("text/uri-list", address);
      const options = { bubbles: true, cancelable: true };
      const event =
        way === "pasted"
          ? new ClipboardEvent("paste", { clipboardData: data, ...options })
          : new DragEvent("drop", { dataTransfer: data, ...options });
      document.querySelector("main").dispatchEvent(event);
    },
    [way, what],
  );
}
