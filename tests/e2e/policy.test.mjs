// The page's Content-Security-Policy and its Trusted Types: what they say, that a whole visit breaks neither, and that they hold.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";

import { DIST, answer, classify, launch, open, ready } from "./browser.mjs";
import { serve } from "./server.mjs";

let browser, server;
before(async () => {
  browser = await launch();
  server = await serve(DIST);
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** In the page before anything else: notes what the policy is broken by. */
function watchPolicy() {
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) => {
    window.violations.push(`${event.effectiveDirective}: ${event.blockedURI} ${event.sample}`);
  });
}

async function visit(prepare = async () => {}) {
  const said = [];
  const opened = await open(browser, server.url, {
    prepare: async (page) => {
      page.on("console", (message) => said.push(message.text()));
      await page.addInitScript(watchPolicy);
      await prepare(page);
    },
  });
  await ready(opened.page);
  return { ...opened, said };
}

test("the policy lets nothing inline run, nothing be made a program of, and nothing connect elsewhere", async () => {
  const html = await readFile(`${DIST}/index.html`, "utf8");
  const content = /http-equiv="?Content-Security-Policy"?\s+content="([^"]+)"/.exec(html)[1];
  const policy = Object.fromEntries(content.split(";").map((part) => part.trim().split(/ (.*)/s).slice(0, 2)));
  assert.deepEqual(policy, {
    "default-src": "'none'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "style-src": "'self'",
    "img-src": "'self' blob: data:",
    "connect-src": "'self'",
    "worker-src": "'self' blob:",
    "manifest-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "lacuna-offline lacuna-thread",
  });
});

test("a whole visit breaks neither, in the page and in its workers", async () => {
  const { page, context, errors, said } = await visit();
  for (const list of ["complete", "image", "text"]) await classify(page, list);
  await page.locator("#text").fill("<img src=x onerror=alert(1)>");
  await answer(page, "Text only: the image is missing");
  await page.locator("#teach-name").fill("<b>Bold</b>");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("#teach-classes").textContent.includes("<b>"));
  const table = Buffer.from('text,label\n"<script>alert(1)</script>",<i>x</i>\nred apple,apple\n');
  await page.evaluate(() => (location.hash = "#many"));
  await page.locator("#many-files").setInputFiles({ name: "<b>.csv", mimeType: "text/csv", buffer: table });
  await page.waitForSelector("#many-summary:not([hidden])");
  await page.evaluate(() => (location.hash = "#model"));
  await page.evaluate(() => document.querySelector("#kept-forget").click());
  await page.waitForFunction(() => document.querySelector("#kept-said").textContent !== "");
  // A second visit starts from what is kept.
  await page.reload();
  await ready(page);
  await classify(page);
  assert.deepEqual(await page.evaluate(() => window.violations), []);
  assert.deepEqual(said.filter((line) => /policy|trusted|violat|refused/i.test(line)), []);
  assert.deepEqual(errors, []);
  assert.equal(await page.locator("main img[src='x'], main script, main b, main i").count(), 0, "texts are texts");
  await context.close();
});

describe("what they forbid", () => {
  let page, context;
  before(async () => {
    ({ page, context } = await visit());
  });
  after(() => context?.close());

  for (const [what, attempt] of [
    ["markup made of words", () => (document.body.innerHTML = "<p>x</p>")],
    ["a script made of words", () => document.head.appendChild(Object.assign(document.createElement("script"), { text: "window.ran = 1" }))],
    ["a program made of words", () => eval("window.ran = 1")],
    ["a function made of words", () => new Function("window.ran = 1")()],
    ["a timer of words", () => setTimeout("window.ran = 1")],
    ["a worker from an address", () => new Worker("workers/relaxed.js", { type: "module" })],
    ["another service worker", () => navigator.serviceWorker.register("start.js")],
    ["a policy of another name", () => trustedTypes.createPolicy("mine", { createHTML: (words) => words })],
    ["a second policy of the page's own name", () => trustedTypes.createPolicy("lacuna-thread", { createScriptURL: (words) => words })],
  ]) {
    test(what, async () => {
      // Later, because what a test itself evaluates is spared the policy.
      await page.evaluate((attempt) => {
        const script = `setTimeout(async () => { try { await (${attempt})(); window.outcome = "went"; } catch (error) { window.outcome = String(error); } })`;
        window.outcome = undefined;
        (0, eval)(script);
      }, String(attempt));
      await page.waitForFunction(() => window.outcome !== undefined);
      const outcome = await page.evaluate(() => window.outcome);
      // A script's element throws nothing; it does not run.
      if (what !== "a script made of words") assert.match(outcome, /TypeError|EvalError/, outcome);
      assert.equal(await page.evaluate(() => window.ran), undefined);
    });
  }

  test("calls elsewhere, by the page, its worker, an image, a form, or a frame", async () => {
    const elsewhere = await serve(DIST);
    const call = (address) => fetch(address).then(() => "went", () => "refused");
    assert.equal(await page.evaluate(call, elsewhere.url), "refused");
    const workers = page.workers();
    assert.ok(workers.length > 0);
    for (const worker of workers.slice(0, 1)) assert.equal(await worker.evaluate(call, elsewhere.url), "refused");
    await page.evaluate((address) => {
      document.body.append(Object.assign(new Image(), { src: `${address}a.png` }));
      document.body.append(Object.assign(document.createElement("iframe"), { src: address }));
      const form = Object.assign(document.createElement("form"), { action: address, method: "post" });
      document.body.append(form);
      form.submit();
      navigator.sendBeacon(address, "x");
    }, elsewhere.url);
    await page.waitForTimeout(500);
    assert.deepEqual(elsewhere.requests, []);
    await elsewhere.close();
  });
});
