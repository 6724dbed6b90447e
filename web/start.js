// Starts the page's program. An own file, because the page's policy allows no inline script.
const { script, program } = document.querySelector("script[data-program]").dataset;
const address = (path) => new URL(path, document.baseURI).href;

/** The mark that the page was loaded again to be isolated. */
const AGAIN = "lacuna-isolate";
/** Where a service worker does not start by then, the page starts without threads. */
const PATIENCE_MS = 2000;

/**
 * Starts the service worker, which keeps the page for visits without a connection. Threads need an isolated page, which
 * is the server's to grant by headers: where it does not, the service worker adds them and the page is loaded once more.
 * True if that is about to happen.
 */
async function serviceWorker() {
  const workers = navigator.serviceWorker;
  if (!workers) return false;
  const registered = workers.register(address("offline.js")).then(() => workers.ready);
  const again = sessionStorage.getItem(AGAIN) !== null;
  sessionStorage.removeItem(AGAIN);
  if (again || crossOriginIsolated !== false) {
    // Nothing waits for it here; who wants something kept hears why not.
    registered.catch((error) => console.info("Nothing is kept:", error));
    return false;
  }
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

async function start() {
  await shown();
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
  const words = JSON.parse(document.getElementById("words").textContent);
  document.getElementById("notice-message").textContent = words["no-start"];
  document.getElementById("notice-hint").textContent = words["no-start-hint"];
}
