// Runs one WebAssembly test program in Node through WASI: the runner of `cargo test --target wasm32-wasip1`.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { WASI } from "node:wasi";

const [program, ...rest] = process.argv.slice(2);
const wasi = new WASI({
  version: "preview1",
  args: [basename(program), "--test-threads=1", ...rest],
  preopens: { ".": process.cwd() },
});
// Called straight from WebAssembly, Node 20's own functions crash when memory is collected meanwhile: step between.
const between = ([name, own]) => [name, (...args) => own(...args)];
const imports = { wasi_snapshot_preview1: Object.fromEntries(Object.entries(wasi.wasiImport).map(between)) };
const { instance } = await WebAssembly.instantiate(await readFile(program), imports);
process.exitCode = wasi.start(instance);
