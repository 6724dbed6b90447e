// What the page says of one post beyond its class: the other cases beside it, what the answer rests on, and how sure it is.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";

import { DIST, answer, visit } from "./browser.mjs";

const CASES = ["Image and text", "Image only", "Text only"];
let opened, page;
const sample = (list, index = 0) => page.locator(`#samples-${list} button`).nth(index);

before(async () => {
  opened = await visit();
  ({ page } = opened);
});
after(() => opened?.close());

/** Waits until all is said of the post, and returns what is shown. */
async function explained() {
  await page.waitForSelector("#rests[aria-busy=false] #rests-found:not([hidden])");
  return page.evaluate(() => {
    const heat = (element) => Number(element.style.getPropertyValue("--heat"));
    const cells = [...document.querySelectorAll("#heat-cells span")];
    const words = [...document.querySelectorAll("#heat-words .word")];
    return {
      image: !document.querySelector("#rests-image").hidden,
      text: !document.querySelector("#rests-text").hidden,
      heats: cells.map(heat),
      marked: cells.filter((cell) => cell.className === "is-marked").map(heat),
      words: words.map((word) => [word.textContent, heat(word), word.classList.contains("is-marked")]),
      whole: document.querySelector("#heat-words").textContent,
      image_said: document.querySelector("#rests-image-said").textContent,
      text_said: document.querySelector("#rests-text-said").textContent,
      rows: getComputedStyle(document.querySelector("#heat-cells")).gridTemplateColumns.split(" ").length,
    };
  });
}

const columns = () =>
  page.evaluate(() =>
    [...document.querySelectorAll(".case-column")].map((column) => ({
      case: column.querySelector(".case").textContent,
      label: column.querySelector(".column-label").textContent,
      classes: [...column.querySelectorAll(".column-classes li")].map((line) => line.textContent),
      chosen: column.querySelector(".column-chosen").textContent,
      sides: [...column.querySelectorAll(".column-sides dd")].map((side) => side.querySelector(".figure").textContent),
    })),
  );

describe("one post in three cases", () => {
  test("a complete post is classified complete, image only and text only, side by side", async () => {
    await sample("complete", 2).click();
    await answer(page, "Image and text");
    await page.waitForSelector("#compare:not([hidden])");
    const shown = await columns();
    assert.deepEqual(shown.map((column) => column.case), CASES);
    for (const [index, column] of shown.entries()) {
      assert.equal(column.classes.length, 3);
      assert.ok(column.classes[0].startsWith(column.label));
      const [image, text] = column.sides;
      assert.equal(image === "missing", index === 2);
      assert.equal(text === "missing", index === 1);
    }
    // What stands beside is what the model says when the side is really hidden.
    for (const [side, index, kase] of [
      ["text", 1, "Image only: the text is missing"],
      ["image", 2, "Text only: the image is missing"],
    ]) {
      await page.locator(`#${side}-hide`).click();
      assert.equal(await page.locator(`#${side}-hide`).getAttribute("aria-pressed"), "true");
      const { rows } = await answer(page, kase);
      assert.ok(shown[index].classes[0].startsWith(rows[0].label));
      assert.ok(shown[index].classes[0].endsWith(rows[0].cells[0].figure));
      await explained();
      assert.ok(await page.locator("#compare").isVisible(), "the other cases stay");
      await page.locator(`#${side}-hide`).click();
      await answer(page, "Image and text");
    }
  });

  test("with both sides hidden nothing is asked, and a post with one side has nothing to compare", async () => {
    await page.locator("#image-hide").click();
    await page.locator("#text-hide").click();
    assert.match(await page.locator("#result-empty").textContent(), /hidden from the model/);
    await sample("image").click();
    await answer(page, "Image only: the text is missing");
    assert.ok(await page.locator("#compare").isHidden());
    assert.ok(await page.locator("#text-hide").isHidden());
    await sample("complete").click();
    await answer(page, "Image and text");
  });
});

describe("what an answer rests on", () => {
  test("patches and words have heat, the fifth with most of it is marked, and the text is whole", async () => {
    await page.locator("#text").fill("a bright red apple, please");
    await page.locator("#image-file").setInputFiles({ name: "apple.png", mimeType: "image/png", buffer: await readFile(`${DIST}/samples/apple.png`) });
    await answer(page, "Image and text");
    await page.waitForFunction(() => document.querySelector("#heat-words").textContent === "a bright red apple, please");
    const found = await explained();
    assert.equal(found.heats.length, 36);
    assert.equal(found.rows, 6, "cells lie in a grid");
    assert.equal(Math.max(...found.heats), 1);
    assert.equal(found.marked.length, 7);
    const least = Math.min(...found.marked);
    assert.ok(found.heats.filter((heat) => heat > least).length <= 7);
    assert.deepEqual(found.words.map(([word]) => word), ["a", "bright", "red", "apple", "please"]);
    assert.equal(found.words.filter(([, , marked]) => marked).length, 1);
    assert.match(found.image_said, /^Most rests on the part (at|in) the .*%.*%.*%/);
    assert.match(found.text_said, /^Most rests on: \w+\. .*%.*%.*%/);
  });

  test("another class rests on other things", async () => {
    const before = await explained();
    const other = await page.locator("#chosen option").nth(4).getAttribute("value");
    await page.locator("#chosen").selectOption(other);
    await page.waitForFunction((heats) => {
      const now = [...document.querySelectorAll("#heat-cells span")].map((cell) => Number(cell.style.getPropertyValue("--heat")));
      return document.querySelector("#rests").getAttribute("aria-busy") === "false" && now.join() !== heats;
    }, before.heats.join());
    assert.ok((await columns())[0].chosen.includes(await page.locator("#chosen option").nth(4).textContent()));
  });

  test("where nothing speaks for a class, nothing is marked", async () => {
    for (let place = 1; place < 24; place++) {
      await page.locator("#chosen").selectOption({ index: place });
      await page.waitForSelector("#rests[aria-busy=false]");
      const { heats, marked, image_said } = await explained();
      const nothing = Math.max(...heats) === 0;
      assert.equal(/^Nothing in the image speaks for this class/.test(image_said), nothing);
      assert.equal(marked.length, nothing ? 0 : 7);
    }
  });

  test("a side that is missing has no map", async () => {
    await sample("text").click();
    await answer(page, "Text only: the image is missing");
    await page.waitForFunction(() => document.querySelector("#rests-image").hidden);
    assert.equal((await explained()).text, true);
  });

  test("typing on while parts are taken away is answered at once", async () => {
    await sample("complete", 1).click();
    await answer(page, "Image and text");
    await page.locator("#text").fill("trumpet");
    await page.locator("#image-remove").click();
    await answer(page, "Text only: the image is missing");
    await page.waitForFunction(() => document.querySelector("#heat-words").textContent === "trumpet");
    assert.match((await explained()).text_said, /single word/);
  });
});

test("a calibrated model says in words when it is not sure", async (t) => {
  const manifest = JSON.parse(await readFile(`${DIST}/bundle/manifest.json`));
  if (!manifest.calibration) return t.skip("the bundle has no calibration");
  const seen = new Set();
  for (const words of ["red apple", "a thing", "of the", "zebra crossing", "trumpet", "qwertz"]) {
    await page.locator("#text").fill(words);
    await page.waitForFunction((text) => document.querySelector("#heat-words").textContent === text, words);
    const unsure = await page.locator("#unsure").isVisible();
    const { label, spoken } = await answer(page, "Text only: the image is missing");
    assert.equal(label.startsWith("Perhaps "), unsure);
    assert.equal(spoken.startsWith("Not sure."), unsure);
    seen.add(unsure);
  }
  assert.deepEqual([...seen].sort(), [false, true]);
});

test("nothing was asked of the server meanwhile, and no error was seen", async () => {
  assert.equal(await page.locator("#requests").textContent(), "Requests since the model was loaded: 0");
  assert.deepEqual(opened.errors, []);
});
