// Owns one engine in a worker of its own: loads a model, runs it when told, says how long each run took and how much
// memory it holds. Told through a port, for our worker listens to the worker's own messages.

/** Every memory that WebAssembly gets here, whichever side makes it. It never shrinks, so its size is its peak. */
const memories = new Set();
WebAssembly.Memory = new Proxy(WebAssembly.Memory, {
  construct(kind, given) {
    const memory = new kind(...given);
    memories.add(memory);
    return memory;
  },
});
for (const name of ["instantiate", "instantiateStreaming"]) {
  const original = WebAssembly[name];
  WebAssembly[name] = async (...given) => {
    const made = await original(...given);
    for (const value of Object.values((made.instance ?? made).exports)) {
      if (Object.prototype.toString.call(value) === "[object WebAssembly.Memory]") memories.add(value);
    }
    return made;
  };
}
const memory = () => [...memories].reduce((sum, each) => sum + each.buffer.byteLength, 0);

const engines = {
  /** Our page's worker, as it is served. */
  async lacuna({ variant, bundle, threads }) {
    const module = await import(variant.module);
    await module.default({ module_or_path: variant.program });
    const classifier = await module.Classifier.load(new URL(bundle, location.origin).href, undefined, threads);
    return {
      kernel: `${variant.name}: ${classifier.kernel}, threads: ${classifier.summary.threads}`,
      image: ({ pixels }) => classifier.embedImage(pixels),
      text: ({ ids, end }) => classifier.embedTokens(ids, end),
    };
  },

  /** What transformers.js runs on. A graph beyond the first two is loaded when it is first needed, and not timed. */
  async onnxruntime({ module, graphs, threads, side }) {
    const ort = await import(module);
    ort.env.wasm.wasmPaths = module.slice(0, module.lastIndexOf("/") + 1);
    ort.env.wasm.numThreads = threads;
    const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all" };
    const sessions = {};
    const session = async (name) => {
      if (!sessions[name]) {
        const answer = await fetch(graphs[name]);
        if (!answer.ok) throw new Error(`${graphs[name]}: the server answers ${answer.status}`);
        sessions[name] = await ort.InferenceSession.create(new Uint8Array(await answer.arrayBuffer()), options);
      }
      return sessions[name];
    };
    for (const name of ["image", "text"]) if (graphs[name]) await session(name);
    const big = (values) => BigInt64Array.from(values, BigInt);
    return {
      kernel: `onnxruntime-web ${ort.env.versions?.web ?? ""}, threads: ${ort.env.wasm.numThreads}`,
      async image({ pixels }) {
        const input = new ort.Tensor("float32", pixels, [1, 3, side, side]);
        return (await (await session("image")).run({ pixels: input })).features.data;
      },
      async text({ ids, end, cut }) {
        const made = await session(cut ? "cut" : "text");
        const tokens = new ort.Tensor("int64", big(ids), [1, ids.length]);
        return (await made.run({ ids: tokens, end: new ort.Tensor("int64", big([end]), [1]) })).features.data;
      },
    };
  },
};

async function answer(port, work) {
  try {
    port.postMessage(await work());
  } catch (error) {
    port.postMessage({ error: String(error?.message ?? JSON.stringify(error) ?? error) });
  }
}

self.addEventListener("message", ({ data: { engine, settings }, ports: [port] }) => {
  answer(port, async () => {
    const begun = performance.now();
    const made = await engines[engine](settings);
    const loaded = performance.now() - begun;
    port.onmessage = ({ data: { input, towers, iterations } }) =>
      answer(port, async () => {
        const times = [];
        const features = {};
        for (let i = 0; i < iterations; i++) {
          const start = performance.now();
          for (const tower of towers) features[tower] = await made[tower](input);
          times.push(performance.now() - start);
        }
        for (const tower of towers) features[tower] = Array.from(features[tower]);
        return { times, features, memory: memory() };
      });
    return { loaded, kernel: made.kernel, memory: memory() };
  });
}, { once: true });
