// Owns how Vite builds and serves the page: as it comes, but for a second page and the headers that threads need.
const headers = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

export default {
  build: { rolldownOptions: { input: ["index.html", "example/index.html"] } },
  server: { headers, watch: null, hmr: false },
};
