// What may be in a post, what is answered, and what of it leaves the page.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { serve } from "../e2e/server.mjs";
import { APPLE, built, classifyCases, closedAddress, keep, open, openPlain } from "./pages.mjs";
import { MOUNTS } from "./site.mjs";

/** A canvas rounds the colours of transparent pixels: so much may a logit change. */
const ROUNDING = 0.05;

export function posts() {
  let page, context, errors;
  before(async () => {
    ({ page, context, errors } = await open(built.url));
    await page.evaluate(classifyCases);
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
    assert.equal(wanted.label, APPLE);
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

  test("the pixels of an ImageData arrive bit for bit: opaque ones by a canvas, which would round others", async () => {
    const own = await openPlain();
    const [opaque, file, sent, wanted] = await own.page.evaluate(async () => {
      const { png } = await import("./node_modules/lacuna-classifier/dist/png.js");
      const c = await Classifier.load("bundle/");
      const noise = (opacity) => {
        const image = new ImageData(61, 53);
        for (let i = 0; i < image.data.length; i++) image.data[i] = i % 4 === 3 ? opacity : (i * 2654435761) >>> 22;
        return image;
      };
      const opaque = await c.classify({ image: noise(255) });
      const file = await c.classify({ image: await png(noise(255)) });
      let sent;
      const { postMessage } = Worker.prototype;
      Worker.prototype.postMessage = function (message, ...rest) {
        sent = [...message.image];
        postMessage.call(this, message, ...rest);
      };
      await c.classify({ image: noise(40) });
      return [opaque, file, sent, [...(await png(noise(40)))]];
    });
    assert.deepEqual(opaque, file);
    assert.deepEqual(sent, wanted);
    await own.context.close();
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
    const own = await openPlain();
    const failure = await own.page.evaluate(
      async (address) => {
        const c = await Classifier.load("bundle/");
        const image = new Image();
        image.src = address;
        return plainly(c.classify({ image }));
      },
      `${foreign.url}apple.png`,
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
    assert.equal(answers[3].label, APPLE);
    assert.deepEqual(heard, [1, 2, 3, 4, 5].map((done) => ({ done, total: 5 })));
    assert.deepEqual(await page.evaluate(() => c.classifyBatch([])), []);
  });

  test("nothing was reported as an unhandled error", () => {
    // A refused and a missing picture are named in the console by the browser itself.
    assert.deepEqual(errors.filter((text) => !text.startsWith("Failed to load resource")), []);
  });
}
