// Console, JSON, JUnit and HTML are made of one report: here they are read back, and must count the same.
import { expect, test } from "vitest";
import { CampaignConsole } from "./campaign-console.ts";
import { junitXml } from "./junit.ts";
import { htmlReport } from "./page/page.ts";
import { conformantReport, sampleReport } from "./report.fixture.ts";
import type { Report } from "./report.ts";
import { parseReport, reportJson } from "./report-json.ts";
import { parseXml, type XmlElement } from "./strict-xml.fixture.ts";
import { type Counts, verdicts } from "./totals.ts";

const countEach = (count: (verdict: (typeof verdicts)[number]) => number): Counts =>
  Object.fromEntries(verdicts.map((verdict) => [verdict, count(verdict)])) as unknown as Counts;

function fromConsole(report: Report): Counts {
  const lines: string[] = [];
  new CampaignConsole((line) => lines.push(line), false).summary(report);
  const totals = lines.filter((line) => /^ {2}(DSSM|KSS|DSS|DP|DC|ALL) /.test(line));
  const sum = (verdict: string) =>
    totals.reduce((total, line) => total + Number(new RegExp(`(\\d+) ${verdict}`).exec(line)?.[1] ?? 0), 0);
  return countEach(sum);
}

function fromJson(report: Report): Counts {
  const { results } = parseReport(reportJson(report));
  return countEach((verdict) => results.filter((each) => each.verdict === verdict).length);
}

function fromJunit(report: Report): Counts {
  const cases = (element: XmlElement): readonly XmlElement[] =>
    element.name === "testcase" ? [element] : element.children.flatMap(cases);
  const suites = parseXml(junitXml(report)).children.filter(
    ({ attributes }) => !["static conformance review", "not performed"].includes(attributes["name"] ?? ""),
  );
  const types = suites.flatMap(cases).map(({ children: [outcome] }) => outcome?.attributes["type"] ?? "PASS");
  return countEach((verdict) => types.filter((type) => type === verdict).length);
}

function fromHtml(report: Report): Counts {
  const page = htmlReport(report);
  const entries = countEach((verdict) => page.split(`data-verdict="${verdict}"`).length - 1);
  const tiles = countEach((verdict) =>
    Number(new RegExp(`data-total="${verdict}">.*?<b>(\\d+)</b>`).exec(page)?.[1] ?? Number.NaN),
  );
  expect(tiles).toEqual(entries);
  return tiles;
}

test.each([
  ["of everything", sampleReport()],
  ["of a conformant implementation", conformantReport()],
  ["of nothing", sampleReport({ results: [], verdict: null })],
])("the totals %s agree", (_, report) => {
  const wanted = countEach((verdict) => report.results.filter((each) => each.verdict === verdict).length);
  expect(fromConsole(report)).toEqual(wanted);
  expect(fromJson(report)).toEqual(wanted);
  expect(fromJunit(report)).toEqual(wanted);
  expect(fromHtml(report)).toEqual(wanted);
});
