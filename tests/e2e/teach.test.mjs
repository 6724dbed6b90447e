// Teaching classes on the page: from examples of each case, kept on the device, undone, saved, opened, renamed, forgotten.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";

import { DIST, answer, open, ready, visit } from "./browser.mjs";

let opened, page;
const sample = (list, index = 0) => page.locator(`#samples-${list} button`).nth(index);
const table = () =>
  page.evaluate(() => [...document.querySelectorAll("#teach-classes tr")].map((row) => [...row.cells].slice(0, 4).map((cell) => cell.textContent)));
const said = (text) => page.waitForFunction((text) => document.querySelector("#teach-said").textContent.includes(text), text);
/** Waits until the classes on offer are so many, with these names and without those: the post is asked about again. */
const offered = (count, names = [], others = []) =>
  page.waitForFunction(
    ([count, names, others]) => {
      const offered = [...document.querySelectorAll("#chosen option")].map((option) => option.textContent);
      return offered.length === count && names.every((name) => offered.includes(name)) && !others.some((name) => offered.includes(name));
    },
    [count, names, others],
  );

/** What the rows say; bars may still be moving. */
const figures = ({ rows }) => rows.map(({ label, cells }) => [label, ...cells.map((cell) => cell.figure)]);

before(async () => {
  opened = await visit();
  ({ page } = opened);
});
after(() => opened?.close());

/** Adds what is on the bench to a class. */
async function teach(name) {
  await page.locator("#teach-said").evaluate((line) => (line.textContent = ""));
  await page.locator("#teach-name").fill(name);
  await page.locator("#teach-name").press("Enter");
  await said(`Added as an example of ${name}`);
}

describe("a class of the visitor's own", () => {
  test("without a post there is nothing to learn from", async () => {
    await page.locator("#teach-name").fill("Guitar shop");
    await page.locator("#teach-form button").click();
    await said("There is no post to learn from");
  });

  test("examples of every case are counted, and the post is then put into the class", async () => {
    await sample("complete", 1).click();
    await answer(page, "Image and text");
    await teach("Guitar shop");
    assert.deepEqual(await table(), [["Guitar shop", "1", "0", "0"]]);
    await page.waitForFunction(() => document.querySelector("#label").textContent.endsWith("Guitar shop"));
    // A complete example teaches the cases with a side missing, too.
    await page.locator("#image-remove").click();
    await answer(page, "Text only: the image is missing");
    await page.waitForFunction(() => document.querySelector("#label").textContent.endsWith("Guitar shop"));
    await teach("Guitar shop");
    await sample("image", 0).click();
    await answer(page, "Image only: the text is missing");
    await teach("Red cars");
    assert.deepEqual(await table(), [
      ["Guitar shop", "1", "0", "1"],
      ["Red cars", "0", "1", "0"],
    ]);
    await offered(26, ["Guitar shop", "Red cars"]);
  });

  test("a trained class is not overwritten", async () => {
    const trained = JSON.parse(await readFile(`${DIST}/bundle/manifest.json`)).config.classes[0];
    await page.locator("#teach-name").fill(trained);
    await page.locator("#teach-form button").click();
    await page.waitForSelector("#notice:not([hidden])");
    assert.match(await page.locator("#notice").innerText(), /trained with many posts/);
    await page.locator("#notice-close").click();
  });

  test("it is kept on the device: a reload brings it back, with the same answer", async () => {
    await sample("image", 0).click();
    const before = await answer(page, "Image only: the text is missing");
    await page.reload();
    await ready(page);
    await page.waitForSelector("#teach-table:not([hidden])");
    assert.equal((await table()).length, 2);
    await sample("image", 0).click();
    const after = await answer(page, "Image only: the text is missing");
    assert.deepEqual(figures(after), figures(before));
    assert.equal(await page.locator("#requests").textContent(), "Requests since the model was loaded: 0");
  });

  test("classes get other names, trained ones too", async () => {
    await page.locator("#teach details summary").click();
    const first = await page.locator("#rename-from option").first().getAttribute("value");
    for (const [from, to] of [[first, "Beasts"], ["Red cars", "Automobiles"]]) {
      await page.locator("#rename-from").selectOption(from);
      await page.locator("#rename-to").fill(to);
      await page.locator("#rename-to").press("Enter");
      await said(`is called ${to} now`);
    }
    await offered(26, ["Beasts", "Automobiles"]);
  });

  test("a change is undone, step by step", async () => {
    await page.locator("#teach-undo").click();
    await said("undone");
    assert.deepEqual((await table()).map(([name]) => name), ["Guitar shop", "Red cars"]);
    await page.locator("#teach-undo").click();
    await page.waitForFunction(() => document.querySelector("#teach-undo").disabled);
    await offered(26, ["Red cars"], ["Beasts"]);
  });

  test("it is saved as a small file, forgotten, and opened again with the same answers", async () => {
    await sample("complete", 1).click();
    const before = await answer(page, "Image and text");
    const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#teach-save").click()]);
    const file = await readFile(await download.path());
    assert.equal(download.suggestedFilename(), "lacuna-classes.json");
    assert.ok(file.length < 20_000, `${file.length} bytes`);
    assert.ok(!String(file).includes("data:"), "no post is in it");

    await page.locator("#teach-classes button").first().click();
    await said("Guitar shop is forgotten");
    assert.equal(await page.evaluate(() => document.activeElement.id), "teach-name", "the focus goes on");
    await page.locator("#teach-clear").click();
    await said("Nothing is taught any more");
    assert.ok(await page.locator("#teach-table").isHidden());
    await offered(24);

    await page.locator("#teach-open").setInputFiles({ name: "mine.json", mimeType: "application/json", buffer: file });
    await said("“mine.json”");
    await page.waitForFunction((label) => document.querySelector("#label").textContent === label, before.label);
    assert.deepEqual(figures(await answer(page, "Image and text")), figures(before));

    for (const [name, text] of [["letter.json", "Dear reader"], ["other.json", String(file).replace(/"bundle": ?"[0-9a-f]{4}/, '"bundle":"0000')], ["empty.json", " "]]) {
      await page.locator("#teach-open").setInputFiles({ name, mimeType: "application/json", buffer: Buffer.from(text) });
      await page.waitForSelector("#notice:not([hidden])");
      await page.locator("#notice-close").click();
      assert.equal((await table()).length, 2, `${name} changes nothing`);
    }
  });

  test("where the browser keeps nothing it works until the page is closed, and says so", async () => {
    const without = await open(opened.browser, opened.server.url, {
      prepare: (page) => page.addInitScript(() => Object.defineProperty(window, "caches", { get: () => undefined })),
    });
    const other = without.page;
    await ready(other);
    await other.locator("#samples-text button").first().click();
    await answer(other, "Text only: the image is missing");
    await other.locator("#teach-name").fill("Weather");
    await other.locator("#teach-name").press("Enter");
    await other.waitForSelector("#notice:not([hidden])");
    assert.match(await other.locator("#notice").innerText(), /cannot be kept on this device/);
    assert.ok(await other.locator("#teach-table").isVisible());
    await without.context.close();
  });

  test("no error was seen", () => assert.deepEqual(opened.errors, []));
});
