// Owns the page that the benchmark runs in: one Chromium, one worker an engine, which are told to work one at a time.
import { chromium } from "playwright-core";

/** Before each turn: threads of the engine before spin a while before they sleep, and would take from this one. */
const PAUSE_MS = 200;

/** Opens the benchmark's page at `url` with `inputs` in it; the page thread itself computes nothing. */
export async function open({ url, executablePath, inputs }) {
  const browser = await chromium.launch({
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
  const page = await (await browser.newContext()).newPage();
  await page.goto(url);
  if (!(await page.evaluate(() => crossOriginIsolated))) throw new Error("the page is not isolated: it has no threads");
  await page.evaluate(prepare, inputs);
  return {
    version: browser.version(),
    evaluate: (work, argument) => page.evaluate(work, argument),
    /** Starts an engine: how long it took to load, what it computes with, and its memory. */
    start: (name, engine, settings) => page.evaluate(start, { name, engine, settings }),
    /** Runs `towers` so many times: times in ms, the last run's features by tower, and its memory. */
    async run(name, { towers, iterations, cut = false }) {
      await new Promise((slept) => setTimeout(slept, PAUSE_MS));
      return page.evaluate(run, { name, towers, iterations, cut });
    },
    stop: (name) => page.evaluate(stop, name),
    stopAll: () => page.evaluate(() => Object.values(window.engines).forEach(({ worker }) => worker.terminate())),
    close: () => browser.close(),
  };
}

/* What follows runs in the page. */

function prepare({ pixels, ids, end }) {
  window.inputs = { pixels: Float32Array.from(pixels), ids: Uint32Array.from(ids), end };
  window.engines = {};
}

function start({ name, engine, settings }) {
  const worker = new Worker("/bench/engine.js", { type: "module" });
  const { port1: port, port2 } = new MessageChannel();
  return new Promise((done, fail) => {
    worker.onerror = (error) => fail(new Error(error.message));
    port.onmessage = ({ data }) => (data.error ? fail(new Error(data.error)) : done(data));
    window.engines[name] = { worker, port };
    worker.postMessage({ engine, settings }, [port2]);
  });
}

function run({ name, towers, iterations, cut }) {
  const { port } = window.engines[name];
  return new Promise((done, fail) => {
    port.onmessage = ({ data }) => (data.error ? fail(new Error(data.error)) : done(data));
    port.postMessage({ input: { ...window.inputs, cut }, towers, iterations });
  });
}

function stop(name) {
  window.engines[name].worker.terminate();
  delete window.engines[name];
}
