// Lets Lighthouse judge a page and prints its four scores and what they rest on; fails if one is below 95.
//
//     CHROMIUM=... node run.mjs ADDRESS [REPORT.html]
import { writeFile } from "node:fs/promises";
import { launch } from "chrome-launcher";
import lighthouse, { desktopConfig } from "lighthouse";

const LEAST = 95;
const [address, report] = process.argv.slice(2);
const chromium = await launch({
  chromePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  chromeFlags: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
let failed = false;
try {
  for (const [device, config] of [["phone", undefined], ["desktop", desktopConfig]]) {
    const { lhr, report: html } = await lighthouse(address, { port: chromium.port, output: "html", logLevel: "error" }, config);
    for (const { title, score, auditRefs } of Object.values(lhr.categories)) {
      const points = Math.round(score * 100);
      failed ||= points < LEAST;
      console.log(`${device}: ${title} ${points}`);
      for (const { id, weight } of auditRefs) {
        const audit = lhr.audits[id];
        if (weight > 0 && audit.score !== null && audit.score < 0.9) console.log(`    ${audit.title}: ${audit.displayValue ?? audit.score}`);
      }
    }
    const metric = (id) => lhr.audits[id].displayValue;
    console.log(`    first paint ${metric("first-contentful-paint")}, largest ${metric("largest-contentful-paint")}, blocked ${metric("total-blocking-time")}, shift ${metric("cumulative-layout-shift")}`);
    if (report) await writeFile(report.replace(/(\.html)?$/, `-${device}.html`), html);
  }
} finally {
  await chromium.kill();
}
process.exitCode = failed ? 1 : 0;
