// Owns the page's visits without a connection, and its isolation where the server cannot send headers: a service worker
// that answers the page's requests from a version of the page that it keeps whole, and else with the server's answers.
//
// It fetches nothing of its own accord. The page asks it to keep the page while the model is loading; a newer version is
// then kept beside the one in use, and takes its place at a visit that finds no other window of the page.

/** What makes a browser share memory between threads. */
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};
/** The list of the page's files, made when the page is built; the last that is kept of a version. */
const LIST = "shell.json";
/** The folder of the worker's artefacts, of which a browser needs one. */
const ARTEFACTS = "workers/";
/** A version's cache is called by this and the version. Pages in other folders of this server have their own. */
const CACHE = `lacuna-page ${new URL(registration.scope).pathname} `;

/** The version that the page's files come from, as a promise; asked for anew by every visit. */
let inUse = null;
/** How often everything was to be forgotten. */
let forgotten = 0;

addEventListener("install", () => skipWaiting());
addEventListener("fetch", (event) => {
  // What goes elsewhere is none of ours; the page's policy refuses it.
  if (new URL(event.request.url).origin === location.origin) event.respondWith(answer(event.request));
});
addEventListener("message", (event) => {
  const [port] = event.ports;
  const said = event.data.forget ? forget() : keep(event.data.artefact);
  event.waitUntil(said.then((kept) => port.postMessage(kept), (error) => port.postMessage({ failure: error.message })));
});

async function answer(request) {
  if (request.mode === "navigate") inUse = choose(request);
  const version = await (inUse ??= versions().then(([oldest]) => oldest));
  const name = nameOf(request.url);
  const kept = name && (await version?.cache.match(addressOf(name)));
  if (kept) return isolated(kept);
  // Of another version nothing may be mixed in, so that a file that is not kept yet is held against the list too.
  if (version && Object.hasOwn(version.files, name)) return isolated(await obtain(name, version.files[name]));
  return isolated(await fetch(request));
}

/** A file's name beside the page; nothing for what lies elsewhere. */
function nameOf(address) {
  const { origin, pathname } = new URL(address);
  const whole = origin + pathname;
  return whole.startsWith(registration.scope) ? whole.slice(registration.scope.length) || "index.html" : undefined;
}

/** Where a file is; a page by its folder, for many servers lead its name there, and a visit must not be led anywhere. */
function addressOf(name) {
  return new URL(name === "index.html" ? "./" : name, registration.scope).href;
}

function isolated(answer) {
  // Without a status there is nothing that could be answered again, only passed on.
  if (answer.status === 0) return answer;
  const headers = new Headers(answer.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const empty = [101, 204, 205, 304].includes(answer.status);
  return new Response(empty ? null : answer.body, { status: answer.status, statusText: answer.statusText, headers });
}

/** The versions that are kept whole, the oldest first. */
async function versions() {
  const names = (await caches.keys()).filter((name) => name.startsWith(CACHE));
  const all = names.map(async (name) => {
    const cache = await caches.open(name);
    const list = await cache.match(addressOf(LIST));
    return list && { name, cache, ...(await list.json()) };
  });
  return (await Promise.all(all)).filter(Boolean);
}

/** The version for a visit: the newest, unless another window still has the one before. */
async function choose(request) {
  const all = await versions();
  if (all.length < 2) return all[0];
  const windows = await clients.matchAll({ type: "window", includeUncontrolled: true });
  const open = windows.filter(({ url }) => url.startsWith(registration.scope)).length;
  if (open > (request.isReloadNavigation ? 1 : 0)) return all[0];
  const newest = all.pop();
  await Promise.all(all.map(({ name }) => caches.delete(name)));
  return newest;
}

/** Keeps the page with one of the worker's artefacts, and a newer version if the server has one. */
async function keep(artefact) {
  const wanted = (name) => !name.startsWith(ARTEFACTS) || name.startsWith(`${ARTEFACTS}${artefact}`);
  const before = forgotten;
  const newest = await newestList();
  const [used] = await versions();
  if (used) await fill(used.cache, used.files, wanted);
  if (!newest) {
    if (!used) throw new Error(`the server did not answer when asked for ${LIST}`);
    return summary(used, wanted, false);
  }
  const newer = newest.version !== used?.version;
  for (const name of await caches.keys()) {
    const other = ![used?.name, CACHE + newest.version].includes(name);
    if (name.startsWith(CACHE) && other) await caches.delete(name);
  }
  if (newer) {
    const cache = await caches.open(CACHE + newest.version);
    await fill(cache, newest.files, wanted, used);
    if (before !== forgotten) {
      await caches.delete(CACHE + newest.version);
      throw new Error("everything was to be forgotten meanwhile");
    }
    await cache.put(addressOf(LIST), Response.json(newest));
  }
  return summary(newest, wanted, newer && used !== undefined);
}

/** What the page is told: how many bytes are kept, and whether the next visit gets a newer version. */
function summary({ files }, wanted, newer) {
  const sizes = Object.entries(files).map(([name, { bytes }]) => (wanted(name) ? bytes : 0));
  return { bytes: sizes.reduce((sum, bytes) => sum + bytes, 0), newer };
}

/** The list that the server has now; nothing if there is no connection. */
async function newestList() {
  const answer = await fetch(addressOf(LIST), { cache: "no-cache" }).catch(() => undefined);
  if (answer && !answer.ok) throw new Error(`the server answers ${answer.status} when asked for ${LIST}`);
  return answer?.json();
}

/** Keeps the wanted files that are not there yet; those that `before` has the same are taken from it. */
async function fill(cache, files, wanted, before) {
  const missing = async ([name, entry]) => {
    if (!wanted(name) || (await cache.match(addressOf(name)))) return;
    const same = before?.files[name]?.sha256 === entry.sha256;
    const old = same && (await before.cache.match(addressOf(name)));
    await cache.put(addressOf(name), old || (await obtain(name, entry)));
  };
  await Promise.all(Object.entries(files).map(missing));
}

/** A file of a certain version: what the browser has of it already, or else the server's. */
async function obtain(name, { sha256 }) {
  for (const cache of ["force-cache", "reload"]) {
    const answer = await fetch(addressOf(name), { cache });
    const bytes = await answer.arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const hexadecimal = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (answer.ok && hexadecimal === sha256) return new Response(bytes, { headers: answer.headers });
  }
  throw new Error(`${name} on the server is not the file that ${LIST} lists`);
}

/** Keeps nothing any more. */
async function forget() {
  forgotten++;
  inUse = Promise.resolve(undefined);
  const names = (await caches.keys()).filter((name) => name.startsWith(CACHE));
  await Promise.all(names.map((name) => caches.delete(name)));
  return { bytes: 0, newer: false };
}
