import { describe, expect, test } from "vitest";
import { CAPABILITIES, STEPS } from "../../catalogue.ts";
import { conformantReport, sampleReport } from "../report.fixture.ts";
import { totalsOf, verdicts } from "../totals.ts";
import { htmlReport } from "./page.ts";
import { anchorOf } from "./purpose-details.ts";
import { shownCapabilities, shownSteps } from "./shown.ts";

const report = sampleReport();
const html = htmlReport(report);

describe("the source", () => {
  test("it refers to nothing outside itself", () => {
    expect(html).not.toMatch(/<(link|img|iframe|object|embed|base)\b/);
    expect(html.match(/\b(href|src)="[^#"][^"]*"/g)).toBeNull();
    expect(html.match(/<script\b/g)).toHaveLength(1);
    expect(html).not.toMatch(/ (style|on\w+)="/);
  });

  test("every link leads to something in it, and nothing has two ids", () => {
    const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [, anchor = ""] of html.matchAll(/ (?:href="#|data-opens=")([^"]+)"/g)) expect(ids).toContain(anchor);
  });

  test("every step and capability of the catalogue has its place", () => {
    for (const { id } of STEPS) expect(html).toContain(`id="step-${id}"`);
    for (const { id } of CAPABILITIES) expect(html).toContain(`id="capability-${id}"`);
    for (const { id } of report.results) expect(html).toContain(`id="${anchorOf(id)}"`);
  });

  test("what nothing shows has no verdict", () => {
    const nothing = sampleReport({ results: [], verdict: null });
    expect(new Set([...shownSteps(nothing).values()].map(({ shown }) => shown))).toEqual(new Set(["UNTESTED"]));
    expect(shownCapabilities(nothing).get("U2")?.shown).toBe("HIDDEN");
  });
});

test("totals on the page are those of the report", () => {
  for (const one of [report, conformantReport()]) {
    const page = htmlReport(one);
    const totals = totalsOf(one);
    for (const verdict of verdicts)
      expect(page).toMatch(new RegExp(`data-total="${verdict}">.*?<b>${totals[verdict]}</b> ${verdict}<`));
  }
});
