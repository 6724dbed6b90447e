// The page's looks in every state: axe-core finds nothing, nothing is cut off, and pictures are kept for people.
import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { DIST, answer, launch, open, ready } from "./browser.mjs";
import { serve } from "./server.mjs";

/** Where the pictures go: a folder that git ignores. */
const PICTURES = process.env.LACUNA_PICTURES ?? new URL("../../target/e2e", import.meta.url).pathname;
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

let browser, server;
before(async () => {
  await mkdir(PICTURES, { recursive: true });
  browser = await launch();
  server = await serve(DIST);
});
after(async () => {
  await browser?.close();
  await server?.close();
});

const STATES = {
  empty: async (page) => {
    await ready(page);
  },
  complete: async (page) => {
    await ready(page);
    await page.locator("#samples-complete button").first().click();
    await answer(page, "Image and text");
    await explained(page);
  },
  image: async (page) => {
    await ready(page);
    await page.locator("#samples-image button").first().click();
    await answer(page, "Image only: the text is missing");
    await explained(page);
  },
  text: async (page) => {
    await ready(page);
    await page.locator("#samples-text button").first().click();
    await answer(page, "Text only: the image is missing");
    await explained(page);
  },
  unsure: async (page) => {
    await ready(page);
    await page.locator("#text").fill("of the");
    await answer(page, "Text only: the image is missing");
    await explained(page);
  },
  teach: async (page) => {
    await STATES.complete(page);
    for (const name of ["Orchard", "Things of my grandmother's"]) {
      await page.locator("#teach-name").fill(name);
      await page.locator("#teach-name").press("Enter");
      await page.waitForFunction((name) => document.querySelector("#teach-said").textContent.includes(name), name);
    }
    await page.locator("#teach details summary").click();
    await page.waitForFunction(() => document.querySelector("#chosen").options.length === 26);
    await explained(page);
  },
  models: async (page) => {
    await ready(page);
    await page.locator("nav a", { hasText: "Models" }).click();
    await page.waitForSelector("#view-model:not([hidden])");
  },
  error: async (page) => {
    await ready(page);
    await page.locator("#image-file").setInputFiles({ name: "a broken picture.png", mimeType: "image/png", buffer: Buffer.from("x") });
    await page.waitForSelector("#notice:not([hidden])");
  },
  "many-empty": async (page) => {
    await ready(page);
    await page.locator('nav a[href="#many"]').click();
    await page.locator("#view-many summary").click();
  },
  "many-running": async (page) => {
    await many(page, 5_000);
    await page.waitForFunction(() => document.querySelector("#many-bar").value > 60);
  },
  "many-done": async (page) => {
    await many(page, 60);
    await page.waitForSelector("#many-summary:not([hidden])");
  },
};

/** Gives a table of this many lines; some have labels, some fail. */
async function many(page, lines) {
  await ready(page);
  await page.locator('nav a[href="#many"]').click();
  const line = (i) => `post-${i},${i % 9 === 4 ? "gone.png" : ""},${i % 13 === 5 ? "" : `"a cup of coffee, number ${i}"`},${["", "drink", "vehicle", "nothing"][i % 4]}`;
  const table = Array.from({ length: lines }, (_, i) => line(i)).join("\n");
  const buffer = Buffer.from(`id,image,text,label\n${table}\n`);
  await page.locator("#many-files").setInputFiles({ name: "posts.csv", mimeType: "text/csv", buffer });
}

for (const [view, options] of Object.entries({
  "light wide": { colorScheme: "light" },
  "dark wide": { colorScheme: "dark" },
  "light narrow": { colorScheme: "light", viewport: { width: 360, height: 740 } },
  "dark narrow": { colorScheme: "dark", viewport: { width: 320, height: 640 }, reducedMotion: "reduce" },
})) {
  for (const [state, reach] of Object.entries(STATES)) {
    test(`${state}, ${view}`, async () => {
      const { page, context } = await open(browser, server.url, options);
      await reach(page);
      await look(page, `${state}-${view.replace(" ", "-")}`);
      await context.close();
    });
  }
}

test("loading", async () => {
  let release;
  const held = new Promise((go) => (release = go));
  const slow = await serve(DIST);
  slow.change = (path) => (/text.*safetensors$/.test(path) ? held.then(() => undefined) : undefined);
  const { page, context } = await open(browser, slow.url);
  await page.waitForFunction(() => document.querySelector("#loading-bar").value > 0);
  await look(page, "loading-light-wide");
  release();
  await ready(page);
  await context.close();
  await slow.close();
});

const explained = (page) => page.waitForSelector("#rests[aria-busy=false] #rests-found:not([hidden])");

/** Holds the page against axe-core and its own width, and keeps a picture. */
async function look(page, name) {
  await page.mouse.move(0, 0);
  await page.waitForFunction(() => document.getAnimations().every((animation) => animation.playState !== "running"));
  await page.screenshot({ path: `${PICTURES}/${name}.png`, fullPage: true });
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(over <= 0, `${name}: ${over} px too wide`);
  await page.evaluate(await readFile(AXE, "utf8"));
  const { violations } = await page.evaluate(() => window.axe.run());
  const said = violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map((node) => `${node.target} (${node.any.concat(node.all, node.none).map((c) => c.message)})`).join(", ")}`);
  assert.deepEqual(said, []);
}
