// Starts the page's program. An own file, because the page's policy allows no inline script.
const { script, program } = document.querySelector("script[data-program]").dataset;
const address = (path) => new URL(path, document.baseURI).href;

/** The mark that the page was loaded again to be isolated. */
const AGAIN = "lacuna-isolate";
/** Where a service worker does not start by then, the page starts without threads. */
const PATIENCE_MS = 2000;

/**
 * Threads need an isolated page, which is the server's to grant by headers. Where it does not, isolate.js adds them and
 * the page is loaded once more. True if that is about to happen.
 */
async function isolate() {
  const workers = navigator.serviceWorker;
  if (!workers) return false;
  const again = sessionStorage.getItem(AGAIN) !== null;
  sessionStorage.removeItem(AGAIN);
  if (crossOriginIsolated) {
    // It has done its work. Gone, it neither asks the server for news of itself nor outlives this page.
    if (workers.controller) await (await workers.getRegistration())?.unregister();
    return false;
  }
  if (again || crossOriginIsolated === undefined) return false;
  const registered = workers.register(address("isolate.js")).then(() => workers.ready);
  const late = new Promise((_, fail) => setTimeout(fail, PATIENCE_MS, new Error("the service worker did not start")));
  await Promise.race([registered, late]);
  sessionStorage.setItem(AGAIN, "");
  location.reload();
  return true;
}

async function start() {
  // Without it the page works as well, on one thread.
  if (await isolate().catch((error) => console.info("No threads:", error))) return;
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
