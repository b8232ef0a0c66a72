// The page in a real browser. What runs inside the page is text here: this project has no types of a browser.
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { STEPS } from "../../catalogue.ts";
import { sampleReport } from "../report.fixture.ts";
import { verdicts } from "../totals.ts";
import { htmlReport } from "./page.ts";
import { anchorOf } from "./purpose-details.ts";
import { shownSteps } from "./shown.ts";

// The procedures and a component: a browser under load takes its time for hundreds of diagrams.
const report = sampleReport({
  results: sampleReport().results.filter(({ entity, component }) => entity === "ALL" || component === "TV"),
});
const html = htmlReport(report);

interface DrawnArrow {
  readonly opens: string;
  readonly mark: string;
  readonly line: string;
}

const DRAWN_ARROWS = `[...document.querySelectorAll(".procedure a.row")].map((row) => ({
  opens: row.dataset.opens,
  mark: row.querySelector("use").getAttribute("href"),
  line: getComputedStyle(row.querySelector(".shaft, .inside")).stroke,
}))`;

/** Texts with less than 4.5 to 1 against what is behind them (WCAG 2.2, 1.4.3); of those that look alike, the first. */
const WEAK_TEXTS = `(() => {
  const channels = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = channels(colour).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    if (element === null) return "rgb(255, 255, 255)";
    const { backgroundColor } = getComputedStyle(element);
    return channels(backgroundColor)[3] === 0 ? behind(element.parentElement) : backgroundColor;
  };
  const seen = new Set();
  const weak = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== "");
    if (!own || element.closest("title, script, style") !== null) continue;
    const style = getComputedStyle(element);
    const [text, back] = [element instanceof SVGElement ? style.fill : style.color, behind(element)];
    if (seen.has(text + back)) continue;
    seen.add(text + back);
    const [one, two] = [luminance(text), luminance(back)];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (!(ratio >= 4.5)) weak.push(element.tagName + "." + element.getAttribute("class") + " " + ratio.toFixed(2));
  }
  if (seen.size < 6) weak.push("only " + seen.size + " colours were looked at");
  return weak;
})()`;

const executablePath = "/usr/bin/chromium";
const present = existsSync(executablePath);

describe.skipIf(!present)(`in Chromium${present ? "" : " (NOT RUN: no /usr/bin/chromium)"}`, () => {
  let browser: Browser;
  let folder: string;
  let address: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "x1410-page-"));
    const file = join(folder, "report.html");
    await writeFile(file, html);
    address = pathToFileURL(file).href;
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  }, 120_000);
  afterAll(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** Opens the report; afterwards nothing may have been fetched, run or complained of that is not the page itself. */
  async function onPage(options: BrowserContextOptions, use: (page: Page) => Promise<void>): Promise<void> {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const unwanted: string[] = [];
    page.on("request", (request) => request.url().split("#")[0] !== address && unwanted.push(request.url()));
    page.on("dialog", (dialog) => unwanted.push(`dialog ${dialog.message()}`));
    page.on("pageerror", (error) => unwanted.push(String(error)));
    page.on("console", (message) => unwanted.push(message.text()));
    try {
      await page.goto(address);
      await use(page);
      expect(unwanted).toEqual([]);
    } finally {
      await context.close();
    }
  }

  test("every arrow has the colour and the mark of its verdict", { timeout: 120_000 }, () =>
    onPage({}, async (page) => {
      const drawn = await page.evaluate<DrawnArrow[]>(DRAWN_ARROWS);
      const steps = [...shownSteps(report).values()];
      expect(drawn.map(({ opens }) => opens)).toEqual(STEPS.map(({ id }) => `step-${id}`));
      expect(drawn.map(({ mark }) => mark)).toEqual(steps.map(({ shown }) => `#m-${shown}`));
      const colours = Map.groupBy(drawn, ({ mark }) => mark);
      expect(colours.size).toBeGreaterThanOrEqual(4);
      for (const [, rows] of colours) expect(new Set(rows.map(({ line }) => line)).size).toBe(1);
      expect(new Set(drawn.map(({ line }) => line)).size).toBe(colours.size);
    }),
  );

  test("an arrow opens its details by pointer and by keyboard, with decoded messages", { timeout: 120_000 }, () =>
    onPage({}, async (page) => {
      const dialog = page.locator("dialog");
      await page.locator('a.row[data-opens="step-F4.13.1"]').click();
      await dialog.getByText("TP/KSS/TV/BI-03").first().click();
      expect(await dialog.locator("h2").textContent()).toContain("TP/KSS/TV/BI-03");
      const text = await dialog.textContent();
      for (const wanted of ["Expected", "TOKEN_INVALID", "Requirement", "[redacted]", "npx x1410 conformance run"])
        expect(text).toContain(wanted);
      await page.keyboard.press("Escape");
      expect(await page.locator("dialog[open]").count()).toBe(0);
      const arrow = page.locator('a.row[data-opens="step-F3.2.1"]');
      await arrow.focus();
      await page.keyboard.press("Enter");
      expect(await dialog.textContent()).toContain("TLSv1.3");
      await dialog.locator("button").click();
      expect(await page.evaluate("document.activeElement.dataset.opens")).toBe("step-F3.2.1");
    }),
  );

  test("the list is filtered by words and verdicts", { timeout: 120_000 }, () =>
    onPage({}, async (page) => {
      await page.locator("input[type=search]").fill("tp/kss/tv F4.13.1");
      for (const verdict of verdicts.filter((one) => one !== "FAIL"))
        await page.locator(`input[value=${verdict}]`).uncheck();
      const shown = await page.locator("details.purpose:visible").evaluateAll((all) => all.map(({ id }) => id));
      const wanted = report.results.filter(
        ({ id, verdict, steps }) => id.startsWith("TP/KSS/TV") && verdict === "FAIL" && steps.includes("F4.13.1"),
      );
      expect(shown).toEqual(wanted.map(({ id }) => anchorOf(id)));
      expect(shown.length).toBeGreaterThan(0);
    }),
  );

  test("on a phone nothing is wider than the screen", { timeout: 120_000 }, () =>
    onPage({ viewport: { width: 360, height: 740 } }, async (page) => {
      await page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true");
      expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(360);
      expect(await page.locator("#step-F3\\.2\\.1").isVisible()).toBe(true);
    }),
  );

  test("without scripts every arrow leads to its details", { timeout: 120_000 }, () =>
    onPage({ javaScriptEnabled: false }, async (page) => {
      await page.locator('a.row[data-opens="step-F4.3"]').click();
      expect(page.url()).toMatch(/#step-F4\.3$/);
      expect(await page.locator("#step-F4\\.3").isVisible()).toBe(true);
    }),
  );

  test("on paper: failures in full, nothing to click, the figures within the page", { timeout: 120_000 }, () =>
    onPage({ viewport: { width: 690, height: 1000 } }, async (page) => {
      await page.emulateMedia({ media: "print" });
      expect(await page.locator("nav, .filter").evaluateAll((all) => all.some((one) => one.checkVisibility()))).toBe(
        false,
      );
      expect(await page.locator("article.failure").count()).toBe(
        report.results.filter(({ verdict }) => verdict !== "PASS").length,
      );
      const widths = await page
        .locator(".procedure .sequence")
        .evaluateAll((all) => all.map((one) => one.getBoundingClientRect().right));
      expect(widths).toHaveLength(4);
      for (const right of widths) expect(right).toBeLessThanOrEqual(690);
    }),
  );

  test.each(["light", "dark"] as const)("every text has enough contrast, %s", { timeout: 120_000 }, (colorScheme) =>
    onPage({ colorScheme }, async (page) => {
      const weak = await page.evaluate(WEAK_TEXTS);
      expect(weak).toEqual([]);
    }),
  );
});
