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

/** A connection breaks off so long after its last bytes: a browser that is busy has taken them by then. */
const CUT_MS = 1000;

/**
 * Serves `folder` on a free port of this machine.
 * `mounts` maps a first path segment to another folder; `change(path, bytes, range)` may return other bytes, a status,
 * `{ rate }` to send only so many bytes a second, `{ cut }` to break the connection off after so many, or nothing to leave
 * the answer alone. `isolated: false` serves like a host that cannot send headers; `ranges: false` like one that sends
 * whole files only; `headers` are sent with every answer.
 */
export async function serve(folder, options = {}) {
  const { mounts = {}, change = () => undefined, isolated = true, ranges = true, headers = {} } = options;
  const requests = [];
  const sockets = new Set();
  const state = { change };
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://host").pathname);
    requests.push(path);
    const [first, ...rest] = normalize(path).split("/").filter(Boolean);
    const file = mounts[first] ? join(mounts[first], ...rest) : join(folder, normalize(path));
    const whole = await readFile(path.endsWith("/") ? join(file, "index.html") : file).catch(() => null);
    const changed = (await state.change(path, whole, request.headers.range)) ?? whole ?? 404;
    if (typeof changed === "number") {
      response.writeHead(changed).end();
      return;
    }
    const { rate, cut } = changed;
    const bytes = rate || cut ? whole : Buffer.from(changed);
    const kind = KINDS[extname(path.endsWith("/") ? "index.html" : path)] ?? "application/octet-stream";
    const own = { "content-type": kind, "cache-control": "no-store", ...(isolated && ISOLATION), ...headers };
    const from = ranges ? Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0) : 0;
    if (from > 0) own["content-range"] = `bytes ${from}-${bytes.length - 1}/${bytes.length}`;
    const part = bytes.subarray(from);
    response.writeHead(from > 0 ? 206 : 200, { ...own, "content-length": part.length });
    if (cut !== undefined) response.write(part.subarray(0, cut), () => setTimeout(() => response.destroy(), CUT_MS));
    else if (rate !== undefined) await slowly(response, part, rate);
    else response.end(part);
  });
  server.on("connection", (socket) => sockets.add(socket));
  // A test that fails before it closes its server must not keep the others waiting for ever.
  server.unref();
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    requests,
    /** How many connections there were, and how many bytes came over all of them. */
    traffic: () => ({ connections: sockets.size, bytes: [...sockets].reduce((sum, socket) => sum + socket.bytesRead, 0) }),
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

/** Sends ten times a second what belongs to a tenth of a second. */
async function slowly(response, bytes, rate) {
  const step = Math.max(1, Math.round(rate / 10));
  for (let at = 0; at < bytes.length && !response.destroyed; at += step) {
    response.write(bytes.subarray(at, at + step));
    await new Promise((go) => setTimeout(go, 100));
  }
  response.end();
}
