// Owns the benchmark in the browser: our engine and onnxruntime-web in turns, same weights, same inputs, one Chromium.
//
//   node run.mjs --models FOLDER --ours FOLDER [--only TEXT] [--turns 5] [--iterations 3] [--threads 1,2] [--json FILE]
//                [--variant NAME] [--chromium FILE] [--gzip]
//
// FOLDER of models: {none,dcp}-{f32,int8} bundles and {none,dcp}-onnx graphs, which `cargo xtask bench browser` makes
// before it calls this. FOLDER of ours: the worker's artefacts.
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { ceilings, limitFor } from "./ceilings.mjs";
import { likeness, median, operationsOfTower, round, spread, tokensOf } from "./figures.mjs";
import { open } from "./page.mjs";
import { print } from "./report.mjs";
import { serve } from "./server.mjs";
import { ENDINGS, PEER, bundleOf, graphOf, groups, variantFor } from "./variants.mjs";
import { bytesOnTheWire } from "./wire.mjs";

/** Outputs in f32 may differ by rounding alone, as a part of the largest value. */
const TOLERANCE = 1e-3;
/** Texts are short work: more of them make a turn. */
const TEXTS_MORE = 5;
const WARM_UP = 2;
const TRIALS = 3;

const { values: options } = parseArgs({
  options: {
    models: { type: "string" },
    ours: { type: "string" },
    only: { type: "string", default: "" },
    turns: { type: "string", default: "5" },
    iterations: { type: "string", default: "3" },
    threads: { type: "string", default: "1,2" },
    variant: { type: "string", default: "" },
    json: { type: "string" },
    gzip: { type: "boolean", default: false },
    chromium: { type: "string", default: process.env.CHROMIUM ?? "/usr/bin/chromium" },
  },
});
const here = fileURLToPath(new URL(".", import.meta.url));
const mounts = { ours: options.ours, models: options.models, ort: join(here, "node_modules/onnxruntime-web/dist"), bench: here };
const chosen = groups(options.threads.split(",").map(Number), options.only);
if (chosen.length === 0) throw new Error(`no row's name holds "${options.only}"; names are like "image none int8 1"`);
const variants = unique(chosen.map(({ threads }) => variantFor(threads, options.variant)));
const clip = JSON.parse(readFileSync(join(options.models, "none-f32/manifest.json"))).config.clip;
const side = clip.vision_config.image_size;
const inputs = makeInputs();

const server = await serve(mounts);
const page = await open({ url: server.url, executablePath: options.chromium, inputs });
try {
  let limits = await ceilings(page);
  const [endings, references, measured, failures] = [{}, {}, [], []];
  for (const group of chosen) {
    try {
      measured.push(await measure(group));
    } catch (error) {
      // Said at once and at the end, and the benchmark fails; what else was measured is kept.
      failures.push(`${group.prompts}, ${group.weights}, threads ${group.threads}: ${error.message}`);
      console.error(failures.at(-1));
      await page.stopAll();
    }
  }
  // A busy moment at the start would make the limits low and our share of them high.
  limits = await ceilings(page, limits);
  const rows = measured.flatMap(({ rows }) => rows.map((row) => withShare(row, limits)));
  const result = {
    machine: { processor: cpus()[0].model.trim(), cores: cpus().length, load: loadavg().map((load) => round(load)), browser: page.version },
    turns: Number(options.turns),
    iterations: Number(options.iterations),
    tokens_of_the_text: inputs.end + 1,
    limits_gops_a_thread: Object.fromEntries(Object.entries(limits).map(([name, rate]) => [name, round(rate)])),
    quantised_graphs: endings,
    loads: measured.map(({ rows: _, ...load }) => load),
    wire: await bytesOnTheWire({
      mounts,
      variants,
      models: unique(chosen.map(({ prompts, weights }) => ({ prompts, weights }))),
      zipModels: options.gzip,
    }),
    failures,
    rows,
  };
  print(result);
  process.exitCode = failures.length ? 1 : 0;
  if (options.json) writeFileSync(options.json, `${JSON.stringify(result, null, 1)}\n`);

  /** Loads both engines with one model and measures all its rows. */
  async function measure({ prompts, weights, threads, kinds }) {
    const variant = variantFor(threads, options.variant);
    const ending = await endingFor(prompts, weights, threads);
    const reference = await referenceFor(prompts);
    const ours = await page.start("ours", "lacuna", { variant, bundle: bundleOf(prompts, weights), threads });
    const theirs = await page.start("theirs", "onnxruntime", peer(prompts, threads, ending));
    const load = {
      prompts, weights, threads,
      kernels: { ours: ours.kernel, theirs: theirs.kernel },
      load_ms: { ours: round(ours.loaded, 0), theirs: round(theirs.loaded, 0) },
      memory_mb: null,
    };
    const rows = [];
    for (const kind of kinds) {
      const row = { ...kind, prompts, weights, threads, ...(await inTurns(kind, weights, reference)) };
      // The graph for cut texts is the benchmark's third; with it the peer would seem to need more than it does.
      if (!kind.cut) load.memory_mb = row.memory_mb;
      rows.push(row);
      console.log(`${kind.what}, ${prompts}, ${weights}, threads ${threads}: ${row.ours.median} and ${row.theirs.median} ms, ${row.ratio.median} x`);
    }
    await page.stop("ours");
    await page.stop("theirs");
    return { ...load, rows };
  }

  /** Ours, theirs, ours, theirs: what the machine does meanwhile hits both. A ratio is of neighbours. */
  async function inTurns({ what, towers, cut }, weights, reference) {
    const iterations = Number(options.iterations) * (towers.includes("image") ? 1 : TEXTS_MORE);
    const turn = (name, iterations) => page.run(name, { towers, iterations, cut });
    await turn("ours", WARM_UP);
    await turn("theirs", WARM_UP);
    const [mine, other, ratios] = [[], [], []];
    let [a, b] = [null, null];
    for (let i = 0; i < Number(options.turns); i++) {
      a = await turn("ours", iterations);
      b = await turn("theirs", iterations);
      mine.push(...a.times);
      other.push(...b.times);
      ratios.push(median(b.times) / median(a.times));
    }
    const alike = {};
    for (const tower of towers) {
      const exact = reference[tower];
      alike[tower] = { ours: likeness(a.features[tower], exact), theirs: likeness(b.features[tower], exact), each_other: likeness(a.features[tower], b.features[tower]) };
      const worst = Math.max(alike[tower].ours.difference, alike[tower].theirs.difference);
      if (weights === "f32" && !(worst <= TOLERANCE)) throw new Error(`${what}: outputs in f32 differ: ${JSON.stringify(alike[tower])}`);
    }
    return {
      ours: spread(mine), theirs: spread(other), ratio: { ...spread(ratios, 2), each: ratios.map((ratio) => round(ratio, 2)) },
      memory_mb: { ours: round(a.memory / 1e6, 0), theirs: round(b.memory / 1e6, 0) },
      alike_to_f32: alike,
    };
  }

  /** The kind of quantised graph that is faster for the peer here, each tower by itself, tried in turns. */
  async function endingFor(prompts, weights, threads) {
    const kinds = ENDINGS[weights];
    if (kinds.length === 1) return { image: kinds[0], text: kinds[0] };
    if (endings[threads]) return endings[threads].taken;
    for (const kind of kinds) await page.start(kind, "onnxruntime", peer(prompts, threads, { image: kind, text: kind }));
    const times = {};
    for (let trial = 0; trial < TRIALS; trial++) {
      for (const kind of kinds) {
        for (const tower of ["image", "text"]) {
          const { times: found } = await page.run(kind, { towers: [tower], iterations: 2 + trial });
          if (trial > 0) ((times[tower] ??= {})[kind] ??= []).push(...found);
        }
      }
    }
    for (const kind of kinds) await page.stop(kind);
    const taken = {};
    for (const [tower, found] of Object.entries(times)) {
      for (const kind of kinds) found[kind] = round(median(found[kind]));
      taken[tower] = kinds.reduce((best, kind) => (found[kind] < found[best] ? kind : best));
    }
    endings[threads] = { taken, times_ms: times };
    return taken;
  }

  /** The peer's outputs in f32 of the same weights, which all others are held against. */
  async function referenceFor(prompts) {
    if (!references[prompts]) {
      await page.start("reference", "onnxruntime", peer(prompts, 1, { image: "onnx", text: "onnx" }));
      references[prompts] = (await page.run("reference", { towers: ["image", "text"], iterations: 1 })).features;
      await page.stop("reference");
    }
    return references[prompts];
  }
} finally {
  await page.close();
  server.close();
}

/** The peer's settings. */
function peer(prompts, threads, ending) {
  const graphs = { image: graphOf(prompts, "image", ending.image), text: graphOf(prompts, "text", ending.text), cut: graphOf(prompts, "text.cut", ending.text) };
  return { module: PEER.module, graphs, threads, side };
}

/** How much of the machine's limit each side reaches with the operations that it really does. */
function withShare(row, limits) {
  const front = frontOf(row.prompts);
  const sum = (words, how) =>
    row.towers.reduce((all, tower) => {
      const settings = clip[tower === "image" ? "vision_config" : "text_config"];
      return all + operationsOfTower(settings, tokensOf(clip, tower, front[tower], words), clip.projection_dim, how);
    }, 0);
  const short = inputs.end + 1;
  const done = { ours: sum(short, { frugal: true }), theirs: sum(row.cut ? short : inputs.ids.length) };
  const limit = limitFor(row.weights, limits) * row.threads;
  const share = (name) => round(done[name] / row[name].median / 1e6 / limit, 3);
  return {
    ...row,
    billions_of_operations: { ours: round(done.ours / 1e9, 2), theirs: round(done.theirs / 1e9, 2) },
    share_of_limit: { ours: share("ours"), theirs: share("theirs") },
  };
}

/** Rows that prompts put in front of each tower's tokens, from the bundle itself. */
function frontOf(prompts) {
  const file = readFileSync(join(options.models, `${prompts}-f32/head-00.safetensors`));
  const header = JSON.parse(file.subarray(8, 8 + Number(file.readBigUInt64LE(0))));
  const rows = (tower, what) => header[`prompt.complete.${tower}.${what}`]?.shape[0] ?? 0;
  return Object.fromEntries(["image", "text"].map((tower) => [tower, rows(tower, "rows") + rows(tower, "queries")]));
}

/** The same for both: pixels like a normalised picture's; a start, six words and an end as captions are, padded. */
function makeInputs() {
  let state = 1;
  const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const { vocab_size: vocabulary, max_position_embeddings: context } = clip.text_config;
  const pixels = Array.from({ length: 3 * side * side }, () => 4 * random() - 2);
  const end = JSON.parse(readFileSync(join(options.models, "none-onnx/made.json"))).words - 1;
  const words = Array.from({ length: end - 1 }, () => Math.floor(random() * (vocabulary - 2)));
  const padding = new Array(context - end - 1).fill(0);
  return { pixels, ids: [vocabulary - 2, ...words, vocabulary - 1, ...padding], end };
}

function unique(values) {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}
