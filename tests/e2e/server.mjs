// Owns a static server for tests: serves a folder, writes down every request, and can change an answer on its way.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

const KINDS = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
};

/** What a page needs to share memory between threads. */
const ISOLATION = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
};

/**
 * Serves `folder` on a free port of this machine.
 * `mounts` maps a first path segment to another folder; `change(path, bytes)` may return other bytes, a status, or
 * nothing to leave the answer alone. `isolated: false` serves like a host that cannot send headers; `headers` are sent
 * with every answer.
 */
export async function serve(folder, { mounts = {}, change = () => undefined, isolated = true, headers = {} } = {}) {
  const requests = [];
  const state = { change };
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://host").pathname);
    requests.push(path);
    const [first, ...rest] = normalize(path).split("/").filter(Boolean);
    const file = mounts[first] ? join(mounts[first], ...rest) : join(folder, normalize(path));
    const bytes = await readFile(path.endsWith("/") ? join(file, "index.html") : file).catch(() => null);
    const changed = (await state.change(path, bytes)) ?? bytes ?? 404;
    if (typeof changed === "number") {
      response.writeHead(changed).end();
      return;
    }
    const kind = KINDS[extname(path.endsWith("/") ? "index.html" : path)] ?? "application/octet-stream";
    const own = { "content-type": kind, "cache-control": "no-store", ...(isolated && ISOLATION), ...headers };
    response.writeHead(200, own).end(changed);
  });
  // A test that fails before it closes its server must not keep the others waiting for ever.
  server.unref();
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    requests,
    /** Changes answers from now on. */
    set change(how) {
      state.change = how;
    },
    close: () =>
      new Promise((closed) => {
        server.close(closed);
        server.closeAllConnections();
      }),
  };
}
