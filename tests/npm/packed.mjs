// What the packed file holds: the types, held against real answers, and what can be tried without a browser.
import assert from "node:assert/strict";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { crc32, inflateSync } from "node:zlib";

import { classifyCases, openPlain } from "./pages.mjs";
import { PACKAGE, SITE, check } from "./site.mjs";

export function packed() {
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
    const { page, context } = await openPlain();
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
}
