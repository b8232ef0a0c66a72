// Makes the picture of a report for the README: node tools/report-screenshot.ts report.json docs/conformance/report.png
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { htmlReport } from "../conformance/report/page/page.ts";
import { parseReport } from "../conformance/report/report-json.ts";

const [source, target] = process.argv.slice(2);
if (source === undefined || target === undefined)
  throw new Error("two arguments: the report in JSON, the picture to write");
const folder = mkdtempSync(join(tmpdir(), "x1410-screenshot-"));
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const file = join(folder, "report.html");
  writeFileSync(file, htmlReport(parseReport(readFileSync(source, "utf8"), source)));
  const page = await browser.newPage({ viewport: { width: 1240, height: 1400 }, colorScheme: "light" });
  await page.goto(pathToFileURL(file).href);
  // The head of the page, and then the second figure.
  await page.evaluate("for (const one of document.querySelectorAll('#F3, #wrong, .tables')) one.hidden = true");
  await page.screenshot({ path: target });
} finally {
  await browser.close();
  rmSync(folder, { recursive: true });
}
