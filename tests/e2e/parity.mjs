// The same bundle natively and in Chromium: the same class for every post, logits within a tolerance.
//
//   trainer predict BUNDLE posts.jsonl --out native.jsonl
//   node tests/e2e/parity.mjs BUNDLE posts.jsonl native.jsonl [--tolerance 1e-4] [--artefact threads] [--threads 2]
//
// `posts.jsonl` names pictures relative to itself. Ends with 0 if every post agrees, else with 1.
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { parseArgs } from "node:util";

import { DIST, launch, startWorker } from "./browser.mjs";
import { serve } from "./server.mjs";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    tolerance: { type: "string", default: "1e-4" },
    artefact: { type: "string", default: "threads" },
    threads: { type: "string" },
  },
});
const [bundle, posts, native] = positionals;
if (!native) {
  console.error("usage: node tests/e2e/parity.mjs BUNDLE posts.jsonl native.jsonl [--tolerance 1e-4] [--artefact baseline|relaxed|threads] [--threads N]");
  process.exit(2);
}
const tolerance = Number(values.tolerance);
const lines = async (file) => (await readFile(file, "utf8")).split("\n").filter(Boolean).map((line) => JSON.parse(line));
const [asked, expected] = [await lines(posts), await lines(native)];
if (asked.length !== expected.length) {
  console.error(`${posts} has ${asked.length} lines and ${native} ${expected.length}; one must be made from the other`);
  process.exit(2);
}

const server = await serve(DIST, { mounts: { bundle: resolve(bundle) }, change: (path) => (path === "/" ? Buffer.from("") : undefined) });
const browser = await launch();
const page = await (await browser.newContext()).newPage();
await page.goto(server.url);
const { summary } = await page.evaluate(startWorker, {
  artefact: values.artefact,
  threads: values.threads ? Number(values.threads) : undefined,
});
console.log(`artefact ${summary.artefact}, ${summary.threads} threads`);

/** By case: posts, equal classes, the largest difference of a logit, milliseconds. */
const cases = new Map(["complete", "text_missing", "image_missing"].map((name) => [name, { posts: 0, same: 0, worst: 0, times: [] }]));
const failures = [];
for (const [index, { id, image, text }] of asked.entries()) {
  const bytes = image == null ? null : (await readFile(resolve(dirname(posts), image))).toString("base64");
  const event = await page.evaluate(([id, bytes, text]) => window.classify(id, bytes, text), [index, bytes, text ?? null]);
  const name = id ?? `line ${index + 1}`;
  const wanted = expected[index];
  if (event.type !== "prediction" || wanted.error) {
    failures.push(`${name}: Chromium says ${event.failure?.message ?? event.prediction.label}, native ${wanted.error ?? wanted.label}`);
    continue;
  }
  const { prediction } = event;
  const logits = (of) => new Map(of.classes.map((entry) => [entry.index, entry.logit]));
  const [here, there] = [logits(prediction), logits(wanted)];
  const difference = Math.max(...[...there].map(([index, logit]) => Math.abs(logit - (here.get(index) ?? Infinity))));
  const same = prediction.index === wanted.index && prediction.case === wanted.case;
  const sum = cases.get(wanted.case);
  sum.posts += 1;
  sum.same += same;
  sum.worst = Math.max(sum.worst, difference);
  sum.times.push(event.milliseconds);
  if (!same || !(difference <= tolerance)) {
    failures.push(`${name}: ${prediction.label} here, ${wanted.label} natively; logits differ by ${difference.toExponential(2)}`);
  }
}
await browser.close();
await server.close();

for (const [name, { posts, same, worst, times }] of cases) {
  times.sort((a, b) => a - b);
  const median = times.length ? `, ${times[times.length >> 1].toFixed(1)} ms` : "";
  console.log(`${name}: same class for ${same} of ${posts}, largest difference of a logit ${worst.toExponential(2)}${median}`);
}
for (const failure of failures.slice(0, 20)) console.log(failure);
console.log(failures.length ? `${failures.length} of ${asked.length} posts disagree` : `all ${asked.length} posts agree within ${tolerance}`);
process.exitCode = failures.length || asked.length === 0 ? 1 : 0;
