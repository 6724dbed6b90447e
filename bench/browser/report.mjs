// Owns the benchmark's table for people; the same figures and more are in its JSON.

const COLUMNS = [
  ["row", ({ what, prompts, weights, threads }) => `${what}, ${prompts}, ${weights}, ${threads} thr.`],
  ["ours ms (quartiles)", ({ ours }) => time(ours)],
  ["ORT ms (quartiles)", ({ theirs }) => time(theirs)],
  ["ORT/ours", ({ ratio }) => `${ratio.median} (${Math.min(...ratio.each)}-${Math.max(...ratio.each)})`],
  ["of limit", ({ share_of_limit: { ours, theirs } }) => `${percent(ours)}, ${percent(theirs)}`],
  ["cosine to f32", ({ alike_to_f32: alike }) => Object.values(alike).map(({ ours, theirs }) => `${ours.cosine}, ${theirs.cosine}`).join("; ")],
];

const time = ({ median, quartiles: [low, high] }) => `${median} (${low}-${high})`;
const percent = (share) => `${Math.round(100 * share)} %`;
const million = (bytes) => (bytes / 1e6).toFixed(2);

/** Prints limits, bytes, loads and rows. Two values in a cell are ours and the peer's. */
export function print({ machine, limits_gops_a_thread: limits, quantised_graphs: quantised, wire, loads, failures, rows }) {
  console.log(`\n${machine.processor}, ${machine.cores} cores, load ${machine.load.join(" ")}, Chromium ${machine.browser}\n`);
  table(["limit of one thread", "10^9 operations/s"], Object.entries(limits).map(([name, rate]) => [name, String(rate)]));
  for (const [threads, { taken, times_ms }] of Object.entries(quantised)) {
    console.log(`quantised graphs at ${threads} thr.: ${JSON.stringify(times_ms)} ms; taken ${JSON.stringify(taken)}\n`);
  }
  table(["on the wire", "MB", "gzip MB"], Object.entries(wire).map(([name, { bytes, gzip }]) => [name, million(bytes), gzip ? million(gzip) : ""]));
  table(
    ["loaded", "ms", "memory of WebAssembly, MB"],
    loads.map(({ prompts, weights, threads, load_ms, memory_mb }) => [
      `${prompts}, ${weights}, ${threads} thr.`,
      `${load_ms.ours}, ${load_ms.theirs}`,
      memory_mb ? `${memory_mb.ours}, ${memory_mb.theirs}` : "",
    ]),
  );
  table(COLUMNS.map(([title]) => title), rows.map((row) => COLUMNS.map(([, cell]) => cell(row))));
  for (const failure of failures) console.log(`FAILED: ${failure}`);
}

function table(titles, lines) {
  const widths = titles.map((title, i) => Math.max(title.length, ...lines.map((line) => line[i].length)));
  const show = (cells) => console.log(`| ${cells.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |`);
  show(titles);
  show(widths.map((width) => "-".repeat(width)));
  lines.forEach(show);
  console.log("");
}
