// Owns the start of Chromium.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

/** Without any traffic of its own. */
const QUIET = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A Chromium of its own: the system's, headless; `more` are further arguments. */
export function launch(more = []) {
  return chromium.launch({ executablePath: program(), args: [...QUIET, ...more] });
}

/** The same with a profile in this folder, which stays there. */
export function launchIn(profile, more = []) {
  return chromium.launchPersistentContext(profile, { executablePath: program(), args: [...QUIET, ...more] });
}

function program() {
  const path = process.env.CHROMIUM ?? "/usr/bin/chromium";
  if (!existsSync(path)) throw new Error(`no Chromium at ${path}; install it, or name it in the variable CHROMIUM`);
  return path;
}
