// Owns one engine in a worker of its own: loads a model, runs it when told, says how long each run took.
// Told through a port, for our worker listens to the worker's own messages.

const engines = {
  /** Our page's worker, as it is served. */
  async lacuna({ artefact, bundle, threads }) {
    const module = await import(`/ours/${artefact}.js`);
    const exports = await module.default({ module_or_path: `/ours/${artefact}_bg.wasm` });
    const classifier = await module.Classifier.load(new URL(bundle, location.origin).href, undefined, threads);
    return {
      kernel: `${classifier.kernel}, ${threads} threads`,
      image: ({ pixels }) => classifier.embedImage(pixels),
      text: ({ ids, end }) => classifier.embedTokens(ids, end),
      memory: () => exports.memory.buffer.byteLength,
    };
  },

  /** What transformers.js runs on. */
  async onnxruntime({ models, threads, side }) {
    const ort = await import("/ort/ort.wasm.min.mjs");
    ort.env.wasm.wasmPaths = "/ort/";
    ort.env.wasm.numThreads = threads;
    const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all" };
    const sessions = {};
    for (const [name, url] of Object.entries(models)) {
      const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
      sessions[name] = await ort.InferenceSession.create(bytes, options);
    }
    const big = (values) => BigInt64Array.from(values, BigInt);
    return {
      kernel: `${ort.env.versions?.web ?? "onnxruntime-web"}, ${threads} threads`,
      async image({ pixels }) {
        const input = new ort.Tensor("float32", pixels, [1, 3, side, side]);
        return (await sessions.image.run({ pixels: input })).features.data;
      },
      async text({ ids, end, short }) {
        const session = short ? sessions.short : sessions.text;
        const used = short ? ids.slice(0, end + 1) : ids;
        const tokens = new ort.Tensor("int64", big(used), [1, used.length]);
        return (await session.run({ ids: tokens, end: new ort.Tensor("int64", big([end]), [1]) })).features.data;
      },
      memory: () => null,
    };
  },
};

self.addEventListener("message", async ({ data: { engine, settings }, ports: [port] }) => {
  try {
    const start = performance.now();
    const made = await engines[engine](settings);
    const loaded = performance.now() - start;
    port.onmessage = async ({ data: { input, of, iterations } }) => {
      try {
        const times = [];
        let features;
        for (let i = 0; i < iterations; i++) {
          const begun = performance.now();
          features = [];
          for (const side of of) features.push(...(await made[side](input)));
          times.push(performance.now() - begun);
        }
        port.postMessage({ times, features, memory: made.memory() });
      } catch (error) {
        port.postMessage({ error: String(error?.message ?? error) });
      }
    };
    port.postMessage({ loaded, kernel: made.kernel });
  } catch (error) {
    port.postMessage({ error: String(error?.message ?? JSON.stringify(error) ?? error) });
  }
}, { once: true });
