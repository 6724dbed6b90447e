// Starts the page's program. An own file, because the page's policy allows no inline script.
const { script, program } = document.querySelector("script[data-program]").dataset;
const address = (path) => new URL(path, document.baseURI).href;

try {
  const { default: init } = await import(address(script));
  await init({ module_or_path: address(program) });
} catch (error) {
  console.error(error);
  document.getElementById("loading").hidden = true;
  document.getElementById("notice").hidden = false;
  document.getElementById("notice-again").hidden = true;
  document.getElementById("notice-message").textContent = "The page's program could not be started.";
  document.getElementById("notice-hint").textContent =
    "Reload the page; if that does not help, use a browser of 2023 or later (Chrome, Edge, Firefox, Safari 16.4).";
}
