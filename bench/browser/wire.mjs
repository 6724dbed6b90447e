// Owns the count of bytes: what a page fetches of either side's program and model, as it is and through gzip.
import { createReadStream, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { createGzip } from "node:zlib";

import { ENDINGS, PEER, bundleOf, graphOf } from "./variants.mjs";
import { fileOf } from "./server.mjs";

/** For people; no page fetches it. */
const CARD = "README.md";

async function gzipped(file) {
  let sum = 0;
  for await (const chunk of createReadStream(file).pipe(createGzip())) sum += chunk.length;
  return sum;
}

async function count(files, zip) {
  const sizes = { bytes: files.reduce((sum, file) => sum + statSync(file).size, 0) };
  if (zip) {
    sizes.gzip = 0;
    for (const file of files) sizes.gzip += await gzipped(file);
  }
  return sizes;
}

/** Bytes of both programs always through gzip too; of models, which take minutes, if `zipModels`. */
export async function bytesOnTheWire({ mounts, variants, models, zipModels }) {
  const found = {};
  const add = async (name, addresses, zip) => {
    const files = addresses.map((address) => fileOf(mounts, address));
    if (files.every(Boolean)) found[name] = await count(files, zip);
  };
  for (const { name, module, program } of variants) await add(`our program, ${name}`, [module, program], true);
  await add("onnxruntime-web", PEER.files, true);
  for (const { prompts, weights } of models) {
    const at = bundleOf(prompts, weights);
    const folder = join(mounts.models, basename(at));
    const names = readdirSync(folder).filter((name) => name !== CARD);
    await add(`our bundle, ${prompts} ${weights}`, names.map((name) => at + name), zipModels);
    for (const ending of ENDINGS[weights]) {
      const graphs = ["image", "text"].map((tower) => graphOf(prompts, tower, ending));
      await add(`graphs, ${prompts} ${ending}`, graphs, zipModels);
    }
  }
  return found;
}
