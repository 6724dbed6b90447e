// Owns the isolation of the page where the server cannot send headers: a service worker that answers the page's own
// requests with the server's answers, and adds the headers that a browser wants to see before it shares memory between
// threads. start.js registers it, loads the page once more, and lets it go; it keeps nothing and asks for nothing.
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const { request } = event;
  // What goes elsewhere is none of ours; the page's policy refuses it.
  if (new URL(request.url).origin === location.origin) event.respondWith(isolated(request));
});

async function isolated(request) {
  const answer = await fetch(request);
  // Without a status there is nothing that could be answered again, only passed on.
  if (answer.status === 0) return answer;
  const headers = new Headers(answer.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const empty = [101, 204, 205, 304].includes(answer.status);
  return new Response(empty ? null : answer.body, { status: answer.status, statusText: answer.statusText, headers });
}
