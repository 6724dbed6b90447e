// Owns the page of somebody else's: a fresh folder in which the packed package is installed as anybody installs it.
import { execFile } from "node:child_process";
import { cp, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

const ROOT = resolve(new URL(".", import.meta.url).pathname, "../..");
const NPM = process.platform === "win32" ? "npm.cmd" : "npm";
const TSC = join(ROOT, "web/npm/node_modules/typescript/bin/tsc");

/** The folder, made anew by each run of the test. */
export const SITE = join(ROOT, "target/npm-site");
/** The package as it lies there. */
export const PACKAGE = join(SITE, "node_modules/lacuna-classifier");
/** What every page of it classifies with, and what. */
export const MOUNTS = { bundle: join(ROOT, "assets/demo-bundle"), samples: join(ROOT, "web/samples") };

/** Makes the folder: its packages as its lock file says, and the one to be tested. */
export async function make() {
  const packed = process.env.LACUNA_PACKAGE;
  if (!packed || !existsSync(packed)) {
    throw new Error("name the packed package in the variable LACUNA_PACKAGE; `cargo xtask npm` prints where it is");
  }
  await rm(SITE, { recursive: true, force: true });
  await cp(join(ROOT, "tests/npm/site"), SITE, { recursive: true, filter: (path) => !path.includes("node_modules") });
  await cp(join(ROOT, "web/npm/example"), join(SITE, "example"), { recursive: true });
  for (const [name, folder] of Object.entries(MOUNTS)) await cp(folder, join(SITE, "public", name), { recursive: true });
  await run(NPM, "ci", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error");
  await run(NPM, "install", "--no-save", "--offline", "--no-audit", "--no-fund", "--loglevel=error", packed);
}

/** Vite's build, in dist. */
export const build = () => run(NPM, "run", "--silent", "build");

/** Vite's development server: its address and how to close it. */
export async function develop() {
  const { createServer } = await import(pathToFileURL(join(SITE, "node_modules/vite/dist/node/index.js")));
  const server = await createServer({ root: SITE, logLevel: "warn", server: { host: "127.0.0.1", port: 0 } });
  await server.listen();
  const { port } = server.httpServer.address();
  return { url: `http://127.0.0.1:${port}/`, close: () => server.close() };
}

/** Checks the folder's TypeScript, strictly; rejects with what the compiler says. */
export const check = () => run(process.execPath, TSC, "-p", SITE);

/** Runs a program in the folder; returns all it printed, or rejects with it. */
async function run(program, ...options) {
  try {
    const { stdout, stderr } = await promisify(execFile)(program, options, { cwd: SITE });
    return stdout + stderr;
  } catch (error) {
    throw new Error(`${program} ${options.join(" ")} failed:\n${error.stdout}${error.stderr}`);
  }
}
