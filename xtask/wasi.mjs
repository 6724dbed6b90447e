// Runs one WebAssembly test program in Node through WASI: the runner of `cargo test --target wasm32-wasip1`.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { WASI } from "node:wasi";

const [program, ...rest] = process.argv.slice(2);
const wasi = new WASI({
  version: "preview1",
  args: [basename(program), "--test-threads=1", ...rest],
  env: { RUST_BACKTRACE: "0" },
  preopens: { ".": process.cwd() },
  returnOnExit: true,
});
const { instance } = await WebAssembly.instantiate(await readFile(program), wasi.getImportObject());
process.exitCode = wasi.start(instance);
