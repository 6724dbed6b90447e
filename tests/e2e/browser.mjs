// Owns how the tests meet the page: where it is, and the few steps every test takes.
import { existsSync } from "node:fs";
import { resolve } from "node:path";

import { launch } from "./chromium.mjs";
import { serve } from "./server.mjs";

export { launch };

/** The built page. */
export const DIST = resolve(process.env.LACUNA_DIST ?? new URL("../../dist", import.meta.url).pathname);

/** Loading and answering may take this long on a busy machine. */
export const PATIENCE = 90_000;

if (!existsSync(`${DIST}/index.html`)) {
  throw new Error(`${DIST} holds no built page; run \`cargo xtask demo --check\` or \`trunk build\` first`);
}

/** Opens the page in a fresh profile, after `prepare` saw it; `errors` and `requests` fill while it lives. */
export async function open(browser, url, { prepare = async () => {}, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const errors = [];
  const requests = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("request", (request) => requests.push(request.url()));
  await page.addInitScript(watch);
  await prepare(page);
  await page.goto(url);
  return { page, context, errors, requests };
}

/** One visit for all tests of a file: a browser, a server, and the page with its model loaded. */
export async function visit() {
  const browser = await launch();
  const server = await serve(DIST);
  const opened = await open(browser, server.url);
  await ready(opened.page);
  const close = async () => {
    await browser.close();
    await server.close();
  };
  return { ...opened, browser, server, close };
}

/**
 * Has this code run in the page and at the start of every worker of the page's, whose first scripts are blobs. It is
 * called with the number of the worker, from 1 on; with 0 in the page.
 */
export async function everywhere(page, code) {
  await page.addInitScript((code) => {
    globalThis.workersMade = 0;
    globalThis.Blob = new Proxy(Blob, {
      construct(Plain, [parts, options]) {
        const script = options?.type === "text/javascript";
        return new Plain(script ? [`(${code})(${++globalThis.workersMade});\n`, ...parts] : parts, options);
      },
    });
  }, String(code));
  await page.addInitScript(`(${code})(0)`);
}

/** Takes the first sample of a kind and returns the class that it gets. */
export async function classify(page, list = "complete") {
  await page.evaluate((list) => document.querySelector(`#samples-${list} button`).click(), list);
  const cases = { complete: "Image and text", image: "Image only: the text is missing", text: "Text only: the image is missing" };
  return (await answer(page, cases[list])).label;
}

/** Waits for the notice and returns what it says. */
export async function notice(page) {
  await page.waitForSelector("#notice:not([hidden])");
  return page.locator("#notice").innerText();
}

/** Waits until the model is loaded and nothing more is fetched. */
export async function ready(page) {
  await page.waitForSelector("#model-state:not([hidden])");
  await page.waitForSelector("#requests:not([hidden])");
}

/** Waits for an answer of this case and returns what the page shows. */
export async function answer(page, kase) {
  await page.waitForFunction(
    (wanted) =>
      document.querySelector("#result").getAttribute("aria-busy") === "false" &&
      !document.querySelector("#result-body").hidden &&
      document.querySelector("#case").textContent === wanted,
    kase,
  );
  return page.evaluate(() => ({
    case: document.querySelector("#case").textContent,
    label: document.querySelector("#label").textContent,
    probability: document.querySelector("#probability").textContent,
    spoken: document.querySelector("#status").textContent,
    time: document.querySelector("#time").textContent,
    rows: [...document.querySelectorAll("#classes tr:not([hidden])")].map((row) => ({
      label: row.cells[0].textContent,
      cells: [...row.cells].slice(1).map((cell) => ({
        figure: cell.querySelector(".figure").textContent,
        missing: cell.classList.contains("is-missing"),
        width: cell.querySelector(".bar").getBoundingClientRect().width,
      })),
    })),
  }));
}

/**
 * Runs in a page without a policy: starts the worker, loads the bundle beside the page, returns the event `ready`, and
 * leaves `worker` and `classify(id, image, text)` behind.
 */
export async function startWorker({ artefact, threads }) {
  const from = (name) => new URL(name, location.href).href;
  const script = `import init from ${JSON.stringify(from(`workers/${artefact}.js`))}; init();`;
  const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), { type: "module" });
  const next = (wanted) =>
    new Promise((told, failed) => {
      worker.onerror = (error) => failed(new Error(error.message || "the worker could not start"));
      worker.onmessage = ({ data }) => {
        if (data.type === "failed" && data.id == null) failed(new Error(data.failure.message));
        else if (wanted(data)) told(data);
      };
    });
  await next((event) => event.type === "awake");
  worker.postMessage({ type: "load", url: from("bundle/"), threads });
  window.worker = worker;
  window.classify = (id, image, text) => {
    const message = { type: "classify", id };
    if (image !== null) message.image = Uint8Array.from(atob(image), (letter) => letter.charCodeAt(0));
    if (text !== null) message.text = text;
    worker.postMessage(message);
    return next((event) => event.id === id);
  };
  return next((event) => event.type === "ready");
}

/** Runs in the page before anything else: notes long tasks and the progress that the bar shows. */
function watch() {
  window.seen = { tasks: [], progress: [] };
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) window.seen.tasks.push({ start: task.startTime, length: task.duration });
  }).observe({ type: "longtask", buffered: true });
  addEventListener("DOMContentLoaded", () => {
    const bar = document.querySelector("#loading-bar");
    const note = () => bar.hasAttribute("value") && window.seen.progress.push([bar.value, bar.max]);
    new MutationObserver(note).observe(bar, { attributes: true });
  });
}
