// Owns how the tests meet the page: where it is, which browser opens it, and the few steps every test takes.
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { chromium } from "playwright-core";

/** The built page. */
export const DIST = resolve(process.env.LACUNA_DIST ?? new URL("../../dist", import.meta.url).pathname);

/** Loading and answering may take this long on a busy machine. */
export const PATIENCE = 90_000;

if (!existsSync(`${DIST}/index.html`)) {
  throw new Error(`${DIST} holds no built page; run \`cargo xtask demo --check\` or \`trunk build\` first`);
}

/** A Chromium of its own: the system's, headless, without any traffic of its own. */
export function launch() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  if (!existsSync(executablePath)) {
    throw new Error(`no Chromium at ${executablePath}; install it, or name it in the variable CHROMIUM`);
  }
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Opens the page in a fresh profile; `errors` and `requests` fill while it lives. */
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const errors = [];
  const requests = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("request", (request) => requests.push(request.url()));
  await page.addInitScript(watch);
  await page.goto(url);
  return { page, context, errors, requests };
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
