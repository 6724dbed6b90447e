// Owns the benchmark's server: folders by the first part of an address, with the headers that isolate a page, which
// threads and exact clocks need.
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const KINDS = { ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json" };
const HEADERS = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
};

/** The file that an address means, if there is one. */
export function fileOf(mounts, path) {
  const [mount, ...rest] = normalize(path).split("/").filter(Boolean);
  const file = mounts[mount] && join(mounts[mount], ...rest);
  return file && existsSync(file) && statSync(file).isFile() ? file : null;
}

/** Serves an empty page and `mounts` on a free port of this machine. */
export async function serve(mounts) {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://host").pathname);
    if (path === "/") {
      response.writeHead(200, { ...HEADERS, "content-type": "text/html" }).end("<!doctype html><title>Benchmark</title>");
      return;
    }
    const file = fileOf(mounts, path);
    if (!file) {
      response.writeHead(404, HEADERS).end();
      return;
    }
    const kind = KINDS[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { ...HEADERS, "content-type": kind, "content-length": statSync(file).size });
    createReadStream(file).pipe(response);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
