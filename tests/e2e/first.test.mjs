// How long a visitor waits: from opening the page with nothing cached to the first prediction, on the demo's model.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { DIST, launch, open } from "./browser.mjs";
import { serve } from "./server.mjs";

/** The median of so many visits is told. */
const VISITS = 5;
/** Busy machines are slow; a hang is something else. */
const LIMIT_MS = 10_000;

let browser, server;
before(async () => {
  browser = await launch();
  server = await serve(DIST);
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** One visit in a profile of its own, on a server that forbids to keep anything: milliseconds by what was reached. */
async function visit() {
  const prepare = (page) => page.addInitScript(visitor);
  const { page, context } = await open(browser, server.url, { prepare });
  await page.waitForFunction(() => window.reached.answered);
  const reached = await page.evaluate(() => window.reached);
  await context.close();
  return reached;
}

/** Runs in the page before anything else: takes the first sample as soon as it is there, and notes the times. */
function visitor() {
  window.reached = {};
  const first = (what) => (window.reached[what] ??= performance.now());
  const look = () => {
    const sample = document.querySelector("#samples-complete button");
    if (sample && !window.reached.asked) {
      first("asked");
      sample.click();
    }
    if (document.querySelector("#model-state:not([hidden])")) first("loaded");
    if (document.querySelector("#result-body:not([hidden])")) first("answered");
  };
  const observer = new MutationObserver(look);
  addEventListener("DOMContentLoaded", () => observer.observe(document, { subtree: true, childList: true, attributes: true }));
}

test("the first prediction comes soon after the page is opened", async (context) => {
  const visits = [];
  for (let i = 0; i < VISITS; i++) visits.push(await visit());
  const median = (what) => Math.round(visits.map((visit) => visit[what]).toSorted((a, b) => a - b)[VISITS >> 1]);
  context.diagnostic(
    `first prediction ${median("answered")} ms after opening (page ${median("asked")}, model ${median("loaded")}; medians of ${VISITS})`,
  );
  assert.ok(median("answered") < LIMIT_MS, JSON.stringify(visits));
});
