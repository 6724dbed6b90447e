// Owns the benchmark in the browser: our engine and onnxruntime-web in turns, same weights, same inputs, one Chromium.
//
//   node run.mjs --models FOLDER --ours FOLDER [--only TEXT] [--turns 5] [--iterations 3] [--threads 1,2] [--json FILE]
//
// FOLDER of models: {none,dcp}-{f32,int8} bundles and {none,dcp}-onnx graphs, which `cargo xtask bench browser`
// makes before it calls this. FOLDER of ours: the worker's artefacts.
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { chromium } from "playwright-core";
import { ceilings } from "./ceilings.mjs";

const { values: options } = parseArgs({
  options: {
    models: { type: "string" },
    ours: { type: "string" },
    only: { type: "string", default: "" },
    turns: { type: "string", default: "5" },
    iterations: { type: "string", default: "3" },
    threads: { type: "string", default: "1,2" },
    json: { type: "string" },
    chromium: { type: "string", default: process.env.CHROMIUM ?? "/usr/bin/chromium" },
  },
});
const here = new URL(".", import.meta.url).pathname;
const config = JSON.parse(readFileSync(join(options.models, "none-f32/manifest.json"))).config.clip;
const SIDE = config.vision_config.image_size;
const CONTEXT = config.text_config.max_position_embeddings;
/** Start, six words, end: a caption as people write them. */
const WORDS = 8;

const KINDS = { ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".html": "text/html" };
const MOUNTS = { ours: options.ours, models: options.models, ort: join(here, "node_modules/onnxruntime-web/dist"), bench: here };

function serve() {
  const server = createServer((request, response) => {
    const headers = {
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
      "cross-origin-resource-policy": "same-origin",
    };
    const path = decodeURIComponent(new URL(request.url, "http://host").pathname);
    if (path === "/") return response.writeHead(200, { ...headers, "content-type": "text/html" }).end("<!doctype html>");
    const [mount, ...rest] = normalize(path).split("/").filter(Boolean);
    const file = MOUNTS[mount] && join(MOUNTS[mount], ...rest);
    if (!file || !existsSync(file)) return response.writeHead(404, headers).end();
    const kind = KINDS[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { ...headers, "content-type": kind }).end(readFileSync(file));
  });
  return new Promise((ready) => server.listen(0, "127.0.0.1", () => ready(server)));
}

/** The same for both: pixels like a normalised picture's, ids with their end, from a seed. */
function inputs() {
  let state = 1;
  const random = () => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32);
  const pixels = Array.from({ length: 3 * SIDE * SIDE }, () => 4 * random() - 2);
  const vocabulary = config.text_config.vocab_size;
  const ids = Array.from({ length: CONTEXT }, (_, i) =>
    i === 0 ? vocabulary - 2 : i === WORDS - 1 ? vocabulary - 1 : i < WORDS ? Math.floor(random() * 40000) % vocabulary : 0,
  );
  return { pixels, ids, end: WORDS - 1 };
}

const bytesOf = (path) =>
  statSync(path).isDirectory() ? readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0) : statSync(path).size;
const quantile = (values, q) => {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * q;
  const low = Math.floor(place);
  return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
};
const round = (value, digits = 1) => Number(value.toFixed(digits));
function likeness(a, b) {
  let [dot, aa, bb, worst, top] = [0, 0, 0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
    worst = Math.max(worst, Math.abs(a[i] - b[i]));
    top = Math.max(top, Math.abs(b[i]));
  }
  return { cosine: dot / Math.sqrt(aa * bb), difference: worst / top };
}

/** Runs in the page. */
function start({ name, engine, settings }) {
  window.ports ??= {};
  const worker = new Worker("/bench/engine.js", { type: "module" });
  const channel = new MessageChannel();
  return new Promise((done, fail) => {
    worker.onerror = (error) => fail(new Error(error.message));
    channel.port1.onmessage = ({ data }) => (data.error ? fail(new Error(data.error)) : done(data));
    window.ports[name] = { worker, port: channel.port1 };
    worker.postMessage({ engine, settings }, [channel.port2]);
  });
}
function run({ name, of, iterations, short }) {
  const { port } = window.ports[name];
  return new Promise((done, fail) => {
    port.onmessage = ({ data }) => (data.error ? fail(new Error(data.error)) : done(data));
    const { pixels, ids, end } = window.inputs;
    port.postMessage({ input: { pixels: Float32Array.from(pixels), ids: Uint32Array.from(ids), end, short }, of, iterations });
  });
}
function stop(name) {
  window.ports[name].worker.terminate();
  delete window.ports[name];
}

/** Multiply-adds of a tower times two, as the plain graph does them. */
function operations(tower, tokens, inputsOfPatches) {
  const { hidden_size: d, intermediate_size: inner, num_hidden_layers: layers } = tower;
  return 2 * (layers * tokens * (4 * d * d + 2 * d * inner + 2 * tokens * d) + (tokens - 1) * d * inputsOfPatches);
}
const patches = (SIDE / config.vision_config.patch_size) ** 2;
const work = operations(config.vision_config, patches + 1, 3 * config.vision_config.patch_size ** 2);

const server = await serve();
const browser = await chromium.launch({
  executablePath: options.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const page = await (await browser.newContext()).newPage();
page.on("console", (m) => process.env.DEBUG && console.log(m.text())); page.on("worker", (w) => process.env.DEBUG && console.log("worker", w.url()));
await page.goto(`http://127.0.0.1:${server.address().port}/`);
if (!(await page.evaluate(() => crossOriginIsolated))) throw new Error("the page is not isolated: no threads");
await page.evaluate((inputs) => (window.inputs = inputs), inputs());

const limits = await ceilings(page);
const limitOf = (dtype) => (dtype === "f32" ? limits["f32 fused"] : limits["int8 relaxed dot"]);
const rows = [];
const engines = {};
for (const prompt of ["none", "dcp"]) {
  for (const dtype of ["f32", "int8"]) {
    for (const threads of options.threads.split(",").map(Number)) {
      const group = `${prompt} ${dtype} ${threads}`;
      const wanted = ["image", "text", "both"].filter((of) => `${of} ${group}`.includes(options.only));
      if (wanted.length === 0) continue;
      const artefact = threads > 1 ? "threads" : "relaxed";
      const ending = dtype === "f32" ? "onnx" : "q8.onnx";
      const models = { image: `/models/${prompt}-onnx/image.${ending}`, text: `/models/${prompt}-onnx/text.${ending}` };
      if (prompt === "none") models.short = `/models/none-onnx/text.short.${ending}`;
      const ours = await page.evaluate(start, {
        name: "ours",
        engine: "lacuna",
        settings: { artefact, bundle: `/models/${prompt}-${dtype}/`, threads },
      });
      const theirs = await page.evaluate(start, { name: "theirs", engine: "onnxruntime", settings: { models, threads, side: SIDE } });
      engines[group] = { ours: ours.kernel, theirs: theirs.kernel };
      const kinds = wanted.map((of) => ({ of, sides: of === "both" ? ["image", "text"] : [of], short: false }));
      if (prompt === "none" && wanted.includes("text")) kinds.push({ of: "text, unpadded graph", sides: ["text"], short: true });
      for (const { of, sides, short } of kinds) {
        const turn = (name, iterations) => page.evaluate(run, { name, of: sides, iterations, short });
        await turn("ours", 2);
        await turn("theirs", 2);
        const [mine, other, ratios] = [[], [], []];
        let [a, b] = [null, null];
        const iterations = Number(options.iterations) * (of.startsWith("text") ? 5 : 1);
        for (let i = 0; i < Number(options.turns); i++) {
          a = await turn("ours", iterations);
          b = await turn("theirs", iterations);
          mine.push(...a.times);
          other.push(...b.times);
          ratios.push(quantile(b.times, 0.5) / quantile(a.times, 0.5));
        }
        const { cosine, difference } = likeness(a.features, b.features);
        const median = quantile(mine, 0.5);
        const row = {
          what: of, prompts: prompt, weights: dtype, threads,
          ours_ms: round(median), ours_quartiles: [round(quantile(mine, 0.25)), round(quantile(mine, 0.75))],
          theirs_ms: round(quantile(other, 0.5)), theirs_quartiles: [round(quantile(other, 0.25)), round(quantile(other, 0.75))],
          ratio: round(quantile(ratios, 0.5), 2), ratio_range: [round(Math.min(...ratios), 2), round(Math.max(...ratios), 2)],
          cosine: round(cosine, 6), difference: Number(difference.toExponential(1)),
          share_of_limit: of === "image" && prompt === "none" ? round(work / median / 1e6 / (limitOf(dtype) * threads), 2) : null,
          load_ms: [round(ours.loaded, 0), round(theirs.loaded, 0)], our_memory_mb: round(a.memory / 1e6, 0),
        };
        if (dtype === "f32" && !(cosine > 0.99999)) throw new Error(`outputs differ: ${JSON.stringify(row)}`);
        rows.push(row);
        console.log(
          `${of.padEnd(20)} ${prompt.padEnd(4)} ${dtype.padEnd(4)} ${threads}  ours ${row.ours_ms} ms  theirs ${row.theirs_ms} ms  ` +
            `${row.ratio} x (${row.ratio_range.join("-")})  cosine ${row.cosine}  limit ${row.share_of_limit ?? ""}`,
        );
      }
      await page.evaluate(stop, "ours");
      await page.evaluate(stop, "theirs");
    }
  }
}
const size = (path) => existsSync(path) ? { bytes: bytesOf(path), gzipped: statSync(path).isDirectory() ? undefined : gzipSync(readFileSync(path)).length } : null;
const wire = {
  "our wasm, relaxed": size(join(options.ours, "relaxed_bg.wasm")),
  "our wasm, threads": size(join(options.ours, "threads_bg.wasm")),
  "their wasm": size(join(MOUNTS.ort, "ort-wasm-simd-threaded.wasm")),
  "our int8 bundle": size(join(options.models, "none-int8")),
  "their q8 image": size(join(options.models, "none-onnx/image.q8.onnx")),
  "their q8 text": size(join(options.models, "none-onnx/text.q8.onnx")),
};
const result = {
  machine: { processor: cpus()[0].model.trim(), cores: cpus().length, browser: browser.version() },
  operations_of_image_tower: work, limits_gops: limits, engines, wire, rows,
};
console.log(JSON.stringify({ limits, wire, machine: result.machine }, null, 1));
if (options.json) writeFileSync(options.json, `${JSON.stringify(result, null, 1)}\n`);
await browser.close();
server.close();
