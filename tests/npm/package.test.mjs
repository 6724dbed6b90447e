// The npm package as others use it: installed from its packed file, bundled and not, in a real Chromium.
import assert from "node:assert/strict";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { crc32, inflateSync } from "node:zlib";

import { launch } from "../e2e/chromium.mjs";
import { serve } from "../e2e/server.mjs";
import { MOUNTS, SITE, build, check, develop, make } from "./site.mjs";

/** A canvas rounds the colours of transparent pixels: so much may a logit change. */
const ROUNDING = 0.05;
const PACKAGE = join(SITE, "node_modules/lacuna-classifier");
const cleanups = [];
let browser, built, plain, printed;

before(async () => {
  await make();
  printed = await build();
  browser = await launch();
  built = await keep(await serve(join(SITE, "dist")));
  plain = await keep(await serve(SITE, { mounts: MOUNTS, isolated: false }));
});
after(async () => {
  await browser?.close();
  for (const { close } of cleanups) await close();
});

function keep(server) {
  cleanups.push(server);
  return server;
}

/** Opens a page that lends the package's exports, after `prepare` saw it. */
async function open(url, prepare = async () => {}) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await prepare(page);
  await page.goto(url);
  await page.waitForFunction(() => "Classifier" in window);
  return { page, context, errors };
}

/** Runs in a page: a failure as plain data, for classes do not cross. */
const asPlain = `window.plainly = (promise) => promise.then(
  (value) => ({ value }),
  ({ name, code, message, hint }) => ({ name, code: typeof code === "string" ? code : null, message, hint }),
);`;

/** Runs in a page: loads the bundle and classifies one sample in each case. */
async function classifyCases(options) {
  const heard = [];
  window.c = await Classifier.load("bundle", { onProgress: (progress) => heard.push(progress), ...options });
  const image = await (await fetch("samples/apple.png")).blob();
  const posts = [{ image, text: "red apple" }, { image }, { text: "red apple" }];
  // All at once: they are answered in turn.
  const predictions = await Promise.all(posts.map((post) => c.classify(post)));
  return { heard, summary: c.summary, predictions };
}

async function agrees({ heard, summary, predictions }, artefact) {
  const manifest = JSON.parse(await readFile(join(MOUNTS.bundle, "manifest.json")));
  const total = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  assert.deepEqual(heard.at(-1), { loaded: total, total });
  assert.equal(summary.artefact, artefact);
  assert.equal(summary.bytes, total);
  assert.deepEqual(summary.classes, manifest.config.classes);
  assert.deepEqual(predictions.map((prediction) => prediction.case), ["complete", "text_missing", "image_missing"]);
  assert.equal(predictions[0].label, "fruit-vegetable");
  for (const { label, classes } of predictions) assert.equal(label, classes[0].label);
}

describe("where it runs", () => {
  /** The fastest artefact of an isolated page; threads need two cores. */
  const fastest = async (page) => ((await page.evaluate(() => navigator.hardwareConcurrency)) > 1 ? "threads" : "relaxed");

  test("Vite's build finds every file, and the threads run", async () => {
    assert.ok(!/warn|doesn't exist/i.test(printed), printed);
    const { page, context, errors } = await open(built.url);
    const seen = await page.evaluate(classifyCases);
    await agrees(seen, await fastest(page));
    assert.equal(seen.summary.threads > 1, seen.summary.artefact === "threads");
    assert.deepEqual(errors, []);
    await context.close();
  });

  test("Vite's development server, the package being optimised as every other", async () => {
    const server = keep(await develop());
    const { page, context, errors } = await open(server.url);
    await agrees(await page.evaluate(classifyCases), await fastest(page));
    assert.deepEqual(errors, []);
    await context.close();
  });

  test("no bundler and no headers: one thread with relaxed SIMD", async () => {
    const { page, context, errors } = await open(`${plain.url}plain.html`);
    await agrees(await page.evaluate(classifyCases), "relaxed");
    assert.deepEqual(errors, []);
    await context.close();
  });

  test("a browser without relaxed SIMD: the baseline", async () => {
    const { page, context } = await open(`${plain.url}plain.html`, (page) =>
      page.addInitScript(() => (WebAssembly.validate = () => false)),
    );
    await agrees(await page.evaluate(classifyCases), "baseline");
    await context.close();
  });

  test("without a worker, on the page's own thread", async () => {
    const { page, context } = await open(`${built.url}`);
    await agrees(await page.evaluate(classifyCases, { worker: false }), "relaxed");
    assert.equal(page.workers().length, 0);
    await page.evaluate(asPlain);
    const [bad, empty, disposed, given] = await page.evaluate(async () => {
      const bad = await plainly(c.classify({ image: new Blob(["no picture"]) }));
      const empty = await plainly(c.classify({}));
      c.dispose();
      const signal = AbortSignal.timeout(0);
      return [bad, empty, await plainly(c.classify({ text: "cat" })), await plainly(Classifier.load("bundle/", { worker: false, signal }))];
    });
    assert.deepEqual([bad.code, empty.code, disposed.code, given.name], ["image", "input", "disposed", "TimeoutError"]);
    await context.close();
  });

  test("in a worker of the page's own, which starts the model's worker", async () => {
    const { page, context, errors } = await open(`${plain.url}plain.html`);
    const label = await page.evaluate(async () => {
      const script = `
        import { Classifier } from ${JSON.stringify(new URL("node_modules/lacuna-classifier/dist/index.js", location.href).href)};
        const c = await Classifier.load(${JSON.stringify(new URL("bundle/", location.href).href)});
        const picture = await createImageBitmap(await (await fetch(${JSON.stringify(new URL("samples/apple.png", location.href).href)})).blob());
        postMessage((await c.classify({ image: picture })).label);
      `;
      const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), { type: "module" });
      return new Promise((told) => (worker.onmessage = ({ data }) => told(data)));
    });
    assert.equal(label, "fruit-vegetable");
    assert.deepEqual(errors, []);
    await context.close();
  });

  test("under the policy that the documentation names", async () => {
    const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; connect-src 'self'; img-src data:";
    const own = keep(await serve(join(SITE, "dist"), { headers: { "content-security-policy": policy } }));
    const { page, context, errors } = await open(own.url);
    await agrees(await page.evaluate(classifyCases), await fastest(page));
    assert.deepEqual(errors, []);
    await context.close();
  });

  for (const [what, change] of [
    ["the artefact is not there", () => 404],
    ["a thread's script fails", (script) => `if (self.name === "lacuna-pool") throw new Error("no");\n${script}`],
  ]) {
    test(`no threads, because ${what}: one thread, and the console says why`, async (t) => {
      const script = await readFile(join(PACKAGE, "dist/artefacts/threads.js"), "utf8");
      const own = keep(await serve(SITE, { mounts: MOUNTS, change: (path) => (path.endsWith("/threads.js") ? change(script) : undefined) }));
      const { page, context } = await open(`${own.url}plain.html`);
      if ((await fastest(page)) !== "threads") return t.skip("a page on one core asks for no threads");
      const warned = [];
      page.on("console", (message) => message.type() === "warning" && warned.push(message.text()));
      await agrees(await page.evaluate(classifyCases), "relaxed");
      assert.ok(warned.some((text) => text.endsWith("It goes on with one thread.")), warned.join());
      await page.evaluate(asPlain);
      const forced = await page.evaluate(() => plainly(Classifier.load("bundle/", { artefact: "threads" })));
      assert.ok(["threads", "internal"].includes(forced.code), JSON.stringify(forced));
      await context.close();
    });
  }

  test("the example's page answers while one types", async () => {
    const { page, context, errors } = await openExample();
    await page.locator("#loading").waitFor({ state: "hidden" });
    await page.locator("#image").setInputFiles(join(MOUNTS.samples, "apple.png"));
    await page.waitForFunction(() => document.querySelector("#answer").value.endsWith("from the picture alone"));
    await page.locator("#text").pressSequentially("red apple");
    await page.waitForFunction(() => /^fruit-vegetable, \d+ %$/.test(document.querySelector("#answer").value));
    assert.deepEqual(errors, []);
    await context.close();
  });

  async function openExample() {
    const context = await browser.newContext();
    const page = await context.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(`${built.url}example/`);
    return { page, context, errors };
  }
});

describe("posts", () => {
  let page, context, errors;
  before(async () => {
    ({ page, context, errors } = await open(built.url));
    await page.evaluate(classifyCases);
    await page.evaluate(asPlain);
  });
  after(() => context?.close());

  test("every kind of picture has the same answer, and none makes a request but an address", async () => {
    const { answers, addresses } = await page.evaluate(async () => {
      const address = new URL("samples/apple.png", location.href);
      const blob = await (await fetch(address)).blob();
      const bytes = await blob.arrayBuffer();
      const bitmap = await createImageBitmap(blob);
      const draw = (canvas, colorSpace = "srgb") => {
        canvas.width = bitmap.width;
        canvas.height = bitmap.height;
        const context = canvas.getContext("2d", { colorSpace });
        context.drawImage(bitmap, 0, 0);
        return { canvas, context };
      };
      const wide = new OffscreenCanvas(1, 1);
      const img = new Image();
      img.src = URL.createObjectURL(blob);
      const framed = document.body.appendChild(document.createElement("iframe")).contentWindow;
      const list = {
        File: new File([blob], "apple.png"),
        Blob: blob,
        ArrayBuffer: bytes,
        Uint8Array: new Uint8Array([0, ...new Uint8Array(bytes), 0]).subarray(1, -1),
        "bytes of a shared memory": new Uint8Array(new SharedArrayBuffer(bytes.byteLength)),
        "Blob of a frame": new framed.Blob([bytes]),
        ImageData: draw(new OffscreenCanvas(1, 1)).context.getImageData(0, 0, bitmap.width, bitmap.height),
        "ImageData of another colour space": draw(wide, "display-p3").context.getImageData(0, 0, bitmap.width, bitmap.height),
        ImageBitmap: bitmap,
        canvas: draw(document.createElement("canvas")).canvas,
        OffscreenCanvas: draw(new OffscreenCanvas(1, 1)).canvas,
        "canvas of another colour space": draw(document.createElement("canvas"), "display-p3").canvas,
        "img, not yet loaded": img,
      };
      list["bytes of a shared memory"].set(new Uint8Array(bytes));
      const addresses = { string: "samples/apple.png", URL: address, "data URL": await new Promise((read) => {
        const reader = new FileReader();
        reader.onload = () => read(reader.result);
        reader.readAsDataURL(blob);
      }) };
      const classify = async (list) => {
        const answers = {};
        for (const [kind, image] of Object.entries(list)) answers[kind] = await c.classify({ image });
        return answers;
      };
      performance.clearResourceTimings();
      const answers = await classify(list);
      const requests = performance.getEntriesByType("resource").map((entry) => entry.name);
      if (requests.some((name) => !name.startsWith("blob:"))) throw new Error(`asked for ${requests}`);
      if (bytes.byteLength === 0 || bitmap.width === 0) throw new Error("the caller's picture was taken away");
      return { answers, addresses: await classify(addresses) };
    });
    const wanted = answers.File;
    assert.equal(wanted.label, "fruit-vegetable");
    for (const kind of ["Blob", "ArrayBuffer", "Uint8Array", "bytes of a shared memory", "Blob of a frame"]) {
      assert.deepEqual(answers[kind], wanted, kind);
    }
    for (const [kind, answer] of Object.entries(addresses)) assert.deepEqual(answer, wanted, kind);
    const logits = ({ classes }) => new Map(classes.map(({ index, logit }) => [index, logit]));
    for (const [kind, answer] of Object.entries(answers)) {
      assert.equal(answer.label, wanted.label, kind);
      const there = logits(wanted);
      const worst = Math.max(...[...logits(answer)].map(([index, logit]) => Math.abs(logit - there.get(index))));
      assert.ok(worst < ROUNDING, `${kind}: logits differ by ${worst}`);
    }
  });

  test("no request after loading: the server hears nothing", async () => {
    const image = (await readFile(join(MOUNTS.samples, "car.png"))).toString("base64");
    built.requests.length = 0;
    const { label } = await page.evaluate(
      (image) => c.classify({ image: Uint8Array.from(atob(image), (letter) => letter.charCodeAt(0)), text: "car" }),
      image,
    );
    assert.ok(label);
    assert.deepEqual(built.requests, []);
  });

  test("what cannot be used is rejected with a code, a sentence and a way out", async () => {
    const failures = await page.evaluate(async (closed) => {
      const posts = {
        input: [{}, { image: null, text: " " }, { image: 7 }, { image: {} }, { text: 7 }, null],
        image: [{ image: new Uint8Array([1, 2, 3]) }, { image: document.createElement("img") }, { image: new OffscreenCanvas(0, 1) }],
        status: [{ image: "samples/nowhere.png" }],
        network: [{ image: closed }],
      };
      const seen = [];
      for (const [code, list] of Object.entries(posts)) {
        for (const post of list) seen.push({ wanted: code, ...(await plainly(c.classify(post))) });
      }
      return seen;
    }, await closedAddress());
    for (const { wanted, name, code, message, hint } of failures) {
      assert.deepEqual([name, code], ["ClassifierError", wanted], message);
      assert.match(message, /\w.*/);
      assert.match(hint, /\.$/);
    }
    assert.equal((await page.evaluate(() => c.classify({ text: "cat" }))).case, "image_missing", "it goes on");
  });

  test("a picture of another origin that is shown without leave cannot be read, and the hint says how", async () => {
    const foreign = keep(await serve(MOUNTS.samples, { isolated: false }));
    const own = await open(`${plain.url}plain.html`);
    const failure = await own.page.evaluate(
      async ([plainly, address]) => {
        eval(plainly);
        const c = await Classifier.load("bundle/");
        const image = new Image();
        image.src = address;
        return window.plainly(c.classify({ image }));
      },
      [asPlain, `${foreign.url}apple.png`],
    );
    assert.equal(failure.code, "image");
    assert.match(failure.hint, /crossorigin/);
    await own.context.close();
  });

  test("a batch is answered in order, and an unreadable post does not end it", async () => {
    const { answers, heard } = await page.evaluate(async () => {
      const image = await (await fetch("samples/car.png")).blob();
      const posts = [{ text: "red apple" }, { image: new Blob(["no picture"]) }, { image }, { image: "samples/apple.png" }, {}];
      const heard = [];
      const answers = await c.classifyBatch(posts, { onProgress: (progress) => heard.push(progress) });
      return { heard, answers: answers.map((answer) => (answer instanceof ClassifierError ? answer.code : answer)) };
    });
    assert.deepEqual(answers.map((answer) => answer.case ?? answer), ["image_missing", "image", "text_missing", "text_missing", "input"]);
    assert.equal(answers[3].label, "fruit-vegetable");
    assert.deepEqual(heard, [1, 2, 3, 4, 5].map((done) => ({ done, total: 5 })));
    assert.deepEqual(await page.evaluate(() => c.classifyBatch([])), []);
  });

  test("nothing was reported as an unhandled error", () => {
    // A refused and a missing picture are named in the console by the browser itself.
    assert.deepEqual(errors.filter((text) => !text.startsWith("Failed to load resource")), []);
  });
});

describe("giving up", () => {
  let page, context, errors;
  before(async () => {
    ({ page, context, errors } = await open(`${plain.url}plain.html`));
    await page.evaluate(asPlain);
  });
  after(() => context?.close());

  test("before loading: nothing is asked for", async () => {
    plain.requests.length = 0;
    const failure = await page.evaluate(() => plainly(Classifier.load("bundle/", { signal: AbortSignal.abort() })));
    assert.equal(failure.name, "AbortError");
    assert.deepEqual(plain.requests, []);
  });

  test("while loading: the worker ends, and nothing more is asked for", async () => {
    let slow;
    const waiting = new Promise((reached) => (slow = reached));
    plain.change = (path) => (path.includes("image-00") ? new Promise((answer) => (slow(), setTimeout(answer, 500, undefined))) : undefined);
    const failure = page.evaluate(() => {
      window.given = new AbortController();
      return plainly(Classifier.load("bundle/", { signal: given.signal }));
    });
    await waiting;
    assert.equal(page.workers().length, 1);
    const ended = page.workers()[0].waitForEvent("close");
    await page.evaluate(() => given.abort());
    assert.equal((await failure).name, "AbortError");
    await ended;
    await page.waitForTimeout(600);
    plain.change = () => undefined;
    assert.ok(!plain.requests.some((path) => path.includes("text-00")), plain.requests.join());
  });

  test("one that waits is never sent, one that is being answered loses its listener, the others have their answers", async () => {
    const { one, two, apple, late, sent } = await page.evaluate(async () => {
      window.c = await Classifier.load("bundle/");
      const [first, second] = [new AbortController(), new AbortController()];
      const sent = [];
      const { postMessage } = Worker.prototype;
      Worker.prototype.postMessage = function (message, ...rest) {
        postMessage.call(this, message, ...rest);
        sent.push(message.text);
        if (message.text === "one") queueMicrotask(() => first.abort());
      };
      const started = [
        c.classify({ text: "one" }, { signal: first.signal }),
        c.classify({ text: "two" }, { signal: second.signal }),
        c.classify({ text: "red apple" }),
      ].map(plainly);
      second.abort(new Error("for a reason"));
      const [one, two, apple] = await Promise.all(started);
      const late = await plainly(c.classify({ text: "three" }, { signal: AbortSignal.abort() }));
      Worker.prototype.postMessage = postMessage;
      return { one, two, apple, late, sent };
    });
    assert.equal(one.name, "AbortError");
    assert.equal(two.message, "for a reason", "the signal's own reason");
    assert.equal(apple.value.label, "fruit-vegetable");
    assert.equal(late.name, "AbortError");
    assert.deepEqual(sent, ["one", "red apple"]);
  });

  test("a batch is given up in the middle", async () => {
    const [batch, after] = await page.evaluate(async () => {
      const given = new AbortController();
      const onProgress = ({ done }) => done === 3 && given.abort();
      const batch = await plainly(c.classifyBatch(Array(50).fill({ text: "cat" }), { signal: given.signal, onProgress }));
      return [batch, await plainly(c.classify({ text: "cat" }))];
    });
    assert.equal(batch.name, "AbortError");
    assert.equal(after.value.case, "image_missing");
  });

  test("dispose rejects what waits and what comes, and ends the worker", async () => {
    assert.equal(page.workers().length, 1);
    const ended = page.workers()[0].waitForEvent("close");
    const failures = await page.evaluate(async () => {
      const started = [c.classify({ text: "one" }), c.classify({ text: "two" }), c.classifyBatch([{ text: "three" }])].map(plainly);
      c[Symbol.dispose]();
      c.dispose();
      return [...(await Promise.all(started)), await plainly(c.classify({ text: "four" }))];
    });
    for (const { name, code, message, hint } of failures) {
      assert.deepEqual([name, code], ["ClassifierError", "disposed"], message);
      assert.match(hint, /Classifier\.load/);
    }
    await ended;
    assert.deepEqual(errors, []);
  });
});

describe("when it fails", () => {
  let page, context, crashing;
  before(async () => {
    // A worker that ends by itself at one word, as one does that runs out of memory.
    const script = await readFile(join(PACKAGE, "dist/artefacts/relaxed.js"), "utf8");
    const trap = `addEventListener("message", (event) => {
      if (event.data.text !== "crash") return;
      event.stopImmediatePropagation();
      throw new WebAssembly.RuntimeError("unreachable");
    });\n`;
    crashing = keep(
      await serve(SITE, { mounts: MOUNTS, isolated: false, change: (path) => (path.endsWith("/relaxed.js") ? trap + script : undefined) }),
    );
    ({ page, context } = await open(`${crashing.url}plain.html`));
    await page.evaluate(asPlain);
  });
  after(() => context?.close());

  test("a worker that ends rejects all that wait, and the next call says what to do", async () => {
    const failures = await page.evaluate(async () => {
      const c = await Classifier.load("bundle/");
      const started = [c.classify({ text: "crash" }), c.classify({ text: "cat" })].map(plainly);
      return [...(await Promise.all(started)), await plainly(c.classifyBatch([{ text: "cat" }])), await plainly(c.classify({ text: "cat" }))];
    });
    for (const { code, message, hint } of failures) {
      assert.equal(code, "memory");
      assert.match(message, /ended/);
      assert.match(hint, /Classifier\.load again/);
    }
    assert.match(failures.at(-1).message, /^The classifier has ended\./);
  });

  test("a folder that is none, options that cannot be, a server that is not there", async () => {
    const failures = await page.evaluate(async (closed) => {
      const seen = [];
      for (const [wanted, url, options] of [
        ["status", "nowhere/"],
        ["network", closed],
        ["input", "bundle/manifest.json"],
        ["input", "bundle/?version=1"],
        ["input", "http://["],
        ["input", "bundle/", { threads: 0 }],
        ["input", "bundle/", { only: "sound" }],
        ["input", "bundle/", { worker: false, artefact: "threads" }],
        ["status", "nowhere/", { worker: false }],
      ]) {
        seen.push({ wanted, ...(await plainly(Classifier.load(url, options))) });
      }
      return seen;
    }, await closedAddress());
    for (const { wanted, code, message, hint } of failures) {
      assert.equal(code, wanted, message);
      assert.ok(message && hint);
    }
  });

  test("a classifier of texts alone fetches no image tower, and says so of an image", async () => {
    crashing.requests.length = 0;
    const [text, image] = await page.evaluate(async () => {
      const c = await Classifier.load("bundle/", { only: "text" });
      return [await plainly(c.classify({ text: "cat" })), await plainly(c.classify({ image: "samples/cat.png" }))];
    });
    assert.equal(text.value.case, "image_missing");
    assert.equal(image.code, "input");
    assert.ok(crashing.requests.some((path) => path.includes("/text-")));
    assert.ok(!crashing.requests.some((path) => path.includes("/image-")), crashing.requests.join());
  });
});

describe("what is packed", () => {
  test("three artefacts, types, licences; nothing that installing would run", async () => {
    const about = JSON.parse(await readFile(join(PACKAGE, "package.json")));
    const version = /version = "(.*)"/.exec(await readFile(new URL("../../Cargo.toml", import.meta.url), "utf8"))[1];
    assert.deepEqual([about.name, about.version, about.license], ["lacuna-classifier", version, "MIT OR Apache-2.0"]);
    for (const key of ["scripts", "dependencies", "devDependencies"]) assert.equal(about[key], undefined, key);
    const names = ["baseline", "relaxed", "threads"];
    assert.deepEqual(await readdir(join(PACKAGE, "dist/artefacts")), names.flatMap((name) => [`${name}.js`, `${name}_bg.wasm`]).sort());
    for (const file of ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "dist/index.d.ts"]) {
      assert.ok((await readFile(join(PACKAGE, file), "utf8")).length > 100, file);
    }
  });

  test("the types are those of real predictions, no field more and none less, and the example keeps to them", async () => {
    const { page, context } = await open(`${plain.url}plain.html`);
    const { summary, predictions } = await page.evaluate(classifyCases);
    await context.close();
    const { evidence, ...less } = predictions[0];
    const literal = (value) => JSON.stringify(value);
    const source = `// Real predictions, held against the declared types.
      import type { Prediction, Summary } from "lacuna-classifier";
      export const summary: Summary = ${literal(summary)};
      export const predictions: Prediction[] = ${literal(predictions)};
      // @ts-expect-error: a field is missing
      export const less: Prediction = ${literal(less)};
      // @ts-expect-error: a field is not declared
      export const more: Prediction = ${literal({ ...less, evidence, more: 1 })};
      // @ts-expect-error: a class's field is not declared
      export const deep: Prediction = ${literal({ ...less, evidence, classes: [{ ...less.classes[0], more: 1 }] })};
      // @ts-expect-error: posts have pictures, not numbers
      export const post: import("lacuna-classifier").Post = { image: 7 };
    `;
    await writeFile(join(SITE, "real.ts"), source);
    await check();
  });

  test("pixels become a PNG bit for bit, transparent ones too", async () => {
    const { png } = await import(pathToFileURL(join(PACKAGE, "dist/png.js")));
    const [width, height] = [37, 23];
    const data = Uint8ClampedArray.from({ length: width * height * 4 }, (_, i) => (i * 2654435761) >>> 13);
    const promise = png({ width, height, data });
    const wanted = data.slice();
    data.fill(0); // the caller draws the next picture
    const file = Buffer.from(await promise);
    const chunks = new Map();
    for (let at = 8; at < file.length; ) {
      const length = file.readUInt32BE(at);
      assert.equal(file.readUInt32BE(at + 8 + length), crc32(file.subarray(at + 4, at + 8 + length)));
      chunks.set(file.toString("latin1", at + 4, at + 8), file.subarray(at + 8, at + 8 + length));
      at += 12 + length;
    }
    assert.deepEqual([...chunks.keys()], ["IHDR", "IDAT", "IEND"]);
    const rows = inflateSync(chunks.get("IDAT"));
    for (let y = 0; y < height; y++) {
      const row = rows.subarray(y * (width * 4 + 1), (y + 1) * (width * 4 + 1));
      assert.deepEqual([...row], [0, ...wanted.subarray(y * width * 4, (y + 1) * width * 4)]);
    }
  });
});

/** An address at which nobody listens. */
async function closedAddress() {
  const { url, close } = await serve(SITE);
  await close();
  return url;
}
