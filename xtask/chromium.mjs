// Runs one WebAssembly test program in Chromium through WASI: the runner of `cargo test --target wasm32-wasip1` for
// instructions that Node does not have.
import { readFile } from "node:fs/promises";
import { basename, extname } from "node:path";
import { launch } from "../tests/e2e/chromium.mjs";

const SHIM = new URL("../tests/e2e/node_modules/@bjorn3/browser_wasi_shim/dist/", import.meta.url);
const ORIGIN = "http://localhost";
const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm", ".html": "text/html" };

const [program, ...rest] = process.argv.slice(2);
const browser = await launch();
const page = await browser.newPage();
// Nothing is asked of any network: every request is answered here.
await page.route("**/*", async (route) => {
  const path = new URL(route.request().url()).pathname.slice(1);
  const body =
    path === "" ? "<!doctype html>" : await readFile(path === "program.wasm" ? program : new URL(path, SHIM)).catch(() => null);
  await route.fulfill(
    body === null ? { status: 404 } : { body, contentType: TYPES[extname(path) || ".html"] ?? "application/octet-stream" },
  );
});
await page.exposeFunction("print", (line) => console.log(line));
await page.goto(ORIGIN);
process.exitCode = await page.evaluate(
  async (args) => {
    const { WASI, ConsoleStdout, OpenFile, File } = await import("/index.js");
    const line = () => ConsoleStdout.lineBuffered((line) => globalThis.print(line));
    const wasi = new WASI(args, [], [new OpenFile(new File([])), line(), line()]);
    const module = await WebAssembly.compileStreaming(fetch("/program.wasm"));
    const instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: wasi.wasiImport });
    try {
      return wasi.start(instance);
    } catch (error) {
      // A test that fails ends the program.
      await globalThis.print(String(error));
      return 1;
    }
  },
  [basename(program), "--test-threads=1", ...rest],
);
await browser.close();
