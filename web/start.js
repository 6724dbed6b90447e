// Starts the page's program. An own file, because the page's policy allows no inline script.
const { script, program } = document.querySelector("script[data-program]").dataset;
const address = (path) => new URL(path, document.baseURI).href;

/** The program and the model compute with these instructions: a function that makes a vector, and drops it. */
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 9, 1, 7, 0, 65, 0, 253, 15, 26, 11];
/** The mark that the page was loaded again to be isolated. */
const AGAIN = "lacuna-isolate";
/** Where a service worker does not start by then, the page starts without threads. */
const PATIENCE_MS = 2000;

/** The service worker's address, as browsers with Trusted Types want a script's: the policy lets no other through. */
function offline() {
  const own = address("offline.js");
  const rules = {
    createScriptURL(wanted) {
      if (wanted !== own) throw new TypeError("this page has one service worker");
      return wanted;
    },
  };
  return globalThis.trustedTypes?.createPolicy("lacuna-offline", rules).createScriptURL(own) ?? own;
}

/**
 * Starts the service worker, which keeps the page for visits without a connection. Threads need an isolated page, which
 * is the server's to grant by headers: where it does not, the service worker adds them and the page is loaded once more.
 * True if that is about to happen.
 */
async function serviceWorker() {
  const workers = navigator.serviceWorker;
  if (!workers) return false;
  const registered = workers.register(offline()).then(() => workers.ready);
  // Nothing else may wait for it; who wants something kept hears why not.
  registered.catch((error) => console.info("Nothing is kept:", error));
  const again = sessionStorage.getItem(AGAIN) !== null;
  sessionStorage.removeItem(AGAIN);
  if (again || crossOriginIsolated !== false) return false;
  const late = new Promise((_, fail) => setTimeout(fail, PATIENCE_MS, new Error("the service worker did not start")));
  await Promise.race([registered, late]);
  sessionStorage.setItem(AGAIN, "");
  location.reload();
  return true;
}

/** The first words are shown before the program is fetched, which would otherwise come in their way; a hidden page shows none. */
const shown = () =>
  new Promise((go) => {
    requestAnimationFrame(() => setTimeout(go));
    setTimeout(go, 200);
  });

/** The names of the words for what is in the way. */
let words = "no-start";

async function start() {
  await shown();
  if (!globalThis.WebAssembly?.validate(Uint8Array.from(SIMD))) {
    words = "crash-unsupported";
    throw new Error("no WebAssembly SIMD");
  }
  // Without it the page works as well, on one thread.
  if (await serviceWorker().catch((error) => console.info("No threads:", error))) return;
  const { default: init } = await import(address(script));
  await init({ module_or_path: address(program) });
}

try {
  await start();
} catch (error) {
  console.error(error);
  document.getElementById("loading").hidden = true;
  document.getElementById("notice").hidden = false;
  document.getElementById("notice-again").hidden = true;
  const said = JSON.parse(document.getElementById("words").textContent);
  document.getElementById("notice-message").textContent = said[words];
  document.getElementById("notice-hint").textContent = said[`${words}-hint`];
}
