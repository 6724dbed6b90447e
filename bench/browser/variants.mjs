// Owns what is measured: our artefacts, the peer's files, the models of both, and the rows of the table.

/** The worker as it is built (xtask/src/artefacts.rs). Another artefact is one line here. */
export const VARIANTS = {
  baseline: { module: "/ours/baseline.js", program: "/ours/baseline_bg.wasm", manyThreads: false },
  relaxed: { module: "/ours/relaxed.js", program: "/ours/relaxed_bg.wasm", manyThreads: false },
  threads: { module: "/ours/threads.js", program: "/ours/threads_bg.wasm", manyThreads: true },
};

/** What a page fetches of onnxruntime-web before any model: the smallest of its builds that computes on the processor. */
export const PEER = {
  module: "/ort/ort.wasm.min.mjs",
  files: ["/ort/ort.wasm.min.mjs", "/ort/ort-wasm-simd-threaded.mjs", "/ort/ort-wasm-simd-threaded.wasm"],
};

/** Graph file endings by weights. Both kinds of bytes are tried, and the faster is kept. */
export const ENDINGS = { f32: ["onnx"], int8: ["u8.onnx", "s8.onnx"] };

/** The artefact that a page would take for so many threads, or the one asked for. */
export function variantFor(threads, wanted) {
  const name = wanted || (threads > 1 ? "threads" : "relaxed");
  const variant = VARIANTS[name];
  if (!variant) throw new Error(`there is no artefact ${name}; there are ${Object.keys(VARIANTS).join(", ")}`);
  if (threads > 1 && !variant.manyThreads) throw new Error(`the artefact ${name} has one thread, not ${threads}`);
  return { name, ...variant };
}

/** Where our bundle and the peer's graphs of the same weights are. */
export const bundleOf = (prompts, weights) => `/models/${prompts}-${weights}/`;
export const graphOf = (prompts, tower, ending) => `/models/${prompts}-onnx/${tower}.${ending}`;

/** What is run of each model. In `cut` rows the peer's graph stops at the text's end, as our engine always does. */
export const KINDS = [
  { what: "image", towers: ["image"], cut: false },
  { what: "text", towers: ["text"], cut: false },
  { what: "both", towers: ["image", "text"], cut: false },
  { what: "text, cut", towers: ["text"], cut: true },
  { what: "both, cut", towers: ["image", "text"], cut: true },
];

/** Every group of rows that share loaded models, with the rows whose name holds `only`. */
export function groups(threads, only) {
  const found = [];
  for (const prompts of ["none", "dcp"]) {
    for (const weights of ["f32", "int8"]) {
      for (const count of threads) {
        const kinds = KINDS.filter(({ what }) => `${what} ${prompts} ${weights} ${count}`.includes(only));
        if (kinds.length) found.push({ prompts, weights, threads: count, kinds });
      }
    }
  }
  return found;
}
