// The report as one HTML page: nothing outside it is fetched, which its own content security policy enforces; without its script it can
// still be read, for every link leads to something in it.
import { createHash } from "node:crypto";
import { Markup, markup, when } from "../markup.ts";
import type { Conformance, Report, ReportedPurpose } from "../report.ts";
import { type Counts, countsOf, grouped, totalsOf, verdicts } from "../totals.ts";
import { coverageSection } from "./coverage-section.ts";
import { mark, markSymbols } from "./mark.ts";
import { pageScript } from "./page-script.ts";
import { pageStyle } from "./page-style.ts";
import { figures, procedureSection } from "./procedure-section.ts";
import { milliseconds, purposeDetails, purposeEntry } from "./purpose-details.ts";
import { type Shown, shownCapabilities, shownSteps } from "./shown.ts";

const headings: Readonly<Record<Conformance, { readonly text: string; readonly shown: Shown }>> = {
  conformant: { text: "Conformant", shown: "PASS" },
  partial: { text: "Passed in part", shown: "HIDDEN" },
  inconclusive: { text: "Inconclusive", shown: "INCONC" },
  "non-conformant": { text: "Not conformant", shown: "FAIL" },
  undetermined: { text: "Undetermined", shown: "ERROR" },
};

/** Longer reasons name hundreds of items: they are to be opened. */
const LONG_REASON = 160;

export function htmlReport(report: Report): string {
  const steps = shownSteps(report);
  const capabilities = shownCapabilities(report);
  const { results, target } = report;
  const policy = `default-src 'none'; style-src ${sourceHash(pageStyle)}; script-src ${sourceHash(pageScript)}`;
  return `<!doctype html>\n${
    markup`<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${headings[report.conformance].text}: ${target.name}, ${report.suite.recommendation}</title>
<style>${new Markup(pageStyle)}</style>
</head>
<body>
<a class="skip" href="#main">To the results</a>
${markSymbols()}${head(report)}
<nav aria-label="Parts of the report"><a href="#totals">Totals</a>${when(wrong(results).length > 0, () => markup`<a href="#wrong">What went wrong</a>`)}<a href="#procedures">Procedures</a><a href="#coverage">Coverage</a><a href="#purposes">Test purposes</a></nav>
<main id="main">
${totalsSection(report)}${wrongSection(report)}<section id="procedures">
<h2>Procedures</h2>
<p class="how"><span><svg class="sample" viewBox="0 0 40 8" aria-hidden="true"><line class="shaft solid" x1="1" y1="4" x2="39" y2="4"/></svg> seen on an interface</span> <span><svg class="sample" viewBox="0 0 40 8" aria-hidden="true"><line class="shaft dashed" x1="1" y1="4" x2="39" y2="4"/></svg> shown by what follows from it</span> <span><svg class="sample" viewBox="0 0 40 8" aria-hidden="true"><line class="shaft dotted" x1="1" y1="4" x2="39" y2="4"/></svg> not seen</span> <span class="screen">Choose an arrow for its messages.</span></p>
${figures.map((figure) => procedureSection(figure, steps, report))}</section>
${coverageSection(steps, capabilities)}${purposesSection(report)}</main>
<footer><p>x1410 conformance kit ${report.kit.version}, suite ${report.suite.version}, SHA-256 <code>${report.suite.hash}</code>, ${report.suite.frozen === "" ? "not a frozen list of purposes" : markup`frozen list <code>${report.suite.frozen}</code>`}</p></footer>
<dialog aria-labelledby="dialog-title"><div class="dialog-head"><h2 id="dialog-title"></h2><button type="button" aria-label="Close">×</button></div><div class="dialog-body"></div></dialog>
<script>${new Markup(pageScript)}</script>
</body>
</html>
`.text
  }`;
}

function sourceHash(source: string): string {
  return `'sha256-${createHash("sha256").update(source).digest("base64")}'`;
}

function head({ conformance, verdict, reasons, target, suite, run, statements }: Report): Markup {
  const { text, shown } = headings[conformance];
  const started = run.startedAt.replace("T", " ").replace(/\.\d+Z$/, " UTC");
  return markup`<header class="v-${shown}">
<p class="kicker">Conformance to ${suite.recommendation}, profile ${suite.profile}</p>
<h1>${mark(shown)}<span>${text}</span></h1>
<p class="target">${target.name}</p>
${reasons.map(reason)}<dl class="run">
<div><dt>Verdict</dt><dd>${verdict ?? "none"}</dd></div>
<div><dt>Started</dt><dd>${started}</dd></div>
<div><dt>Took</dt><dd>${milliseconds(run.durationMs)}</dd></div>
<div><dt>Client stack</dt><dd>${run.client}</dd></div>
<div><dt>Seed</dt><dd>${run.seed}</dd></div>
<div><dt>At the same time</dt><dd>${run.parallel}</dd></div>
</dl>
<div class="scroller" role="region" aria-label="Entities under test" tabindex="0"><table class="entities"><thead><tr><th scope="col">Entity</th><th scope="col">Endpoint</th><th scope="col">TLS</th><th scope="col">Certificate, SHA-256</th><th scope="col">Statement</th></tr></thead><tbody>
${target.entities.map(({ role, endpoint, identity, protocol, cipher, certificateSha256, problem }) => {
  const stated = statements.find(({ entity }) => entity === role);
  const statement = stated?.given
    ? `${stated.supported.length} items, ${stated.implementation}`
    : "all that is mandatory";
  return markup`<tr><th scope="row">${role.toUpperCase()}</th><td>${endpoint}<br><small>${identity}</small></td><td>${protocol === "" ? problem : `${protocol}, ${cipher}`}</td><td><code class="print">${certificateSha256}</code></td><td>${statement}</td></tr>\n`;
})}</tbody></table></div>
</header>`;
}

function reason(text: string): Markup {
  if (text.length <= LONG_REASON) return markup`<p class="reason">${text}</p>\n`;
  return markup`<details class="reason"><summary>${text.slice(0, LONG_REASON)} …</summary><p>${text}</p></details>\n`;
}

function totalsSection(report: Report): Markup {
  const { results, staticReview, leftBehind } = report;
  const totals = totalsOf(report);
  const others = [
    [totals.notApplicable, "not applicable"],
    [totals.outOfReach, "out of reach"],
    [totals.filteredOut, "filtered out"],
  ] as const;
  const tiles = verdicts.map(
    (verdict) =>
      markup`<div class="tile v-${totals[verdict] > 0 ? verdict : "UNTESTED"}" data-total="${verdict}">${mark(verdict)}<b>${totals[verdict]}</b> ${verdict}</div>\n`,
  );
  return markup`<section id="totals">
<h2>Totals</h2>
<div class="tiles">${tiles}</div>
<p class="facts">${totals.performed} of ${report.suite.purposes} test purposes performed; ${others.map(([count, text]) => `${count} ${text}`).join(", ")}.</p>
<div class="tables">
${table(
  "Entity",
  grouped(results, ({ entity }) => entity),
)}${table(
  "Clause",
  grouped(
    results.toSorted((a, b) => a.clause.localeCompare(b.clause, "en", { numeric: true })),
    ({ clause }) => clause,
  ),
)}</div>
${when(staticReview.length > 0, () => markup`<h3>Static conformance review</h3>\n<ul>${staticReview.map(({ entity, item, clause, text }) => markup`<li>${mark("FAIL")}${entity} ${item}, clause ${clause}: ${text}</li>`)}</ul>\n`)}${when(report.run.ended !== undefined, () => markup`<h3>Ended before its time</h3>\n<p>${report.run.ended ?? ""}</p>\n`)}${when(leftBehind.length > 0, () => markup`<h3>Left on the target</h3>\n<ul>${leftBehind.map((text) => markup`<li>${text}</li>`)}</ul>\n`)}</section>
`;
}

function table(name: string, groups: ReadonlyMap<string, readonly ReportedPurpose[]>): Markup {
  const rows = [...groups].map(([key, list]) => {
    const counts = countsOf(list);
    const cells = verdicts.map(
      (verdict) => markup`<td class="${counts[verdict] > 0 ? `v-${verdict}` : "none"}">${counts[verdict]}</td>`,
    );
    return markup`<tr><th scope="row">${key}</th><td class="bar">${bar(counts, list.length)}</td>${cells}</tr>\n`;
  });
  const heads = verdicts.map((verdict) => markup`<th scope="col">${verdict}</th>`);
  return markup`<table class="totals"><thead><tr><th scope="col">${name}</th><td></td>${heads}</tr></thead><tbody>
${rows}</tbody></table>
`;
}

function bar(counts: Counts, total: number): Markup {
  let x = 0;
  const parts = verdicts
    .filter((verdict) => counts[verdict] > 0)
    .map((verdict) => {
      const width = (100 * counts[verdict]) / total;
      const part = markup`<rect class="v-${verdict}" x="${x.toFixed(2)}" y="0" width="${width.toFixed(2)}" height="8"/>`;
      x += width;
      return part;
    });
  return markup`<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">${parts}</svg>`;
}

function wrong(results: readonly ReportedPurpose[]): readonly ReportedPurpose[] {
  return ["FAIL", "ERROR", "INCONC"].flatMap((verdict) => results.filter((one) => one.verdict === verdict));
}

/** Everything about what did not pass, without anything to open: on paper too. */
function wrongSection(report: Report): Markup {
  const list = wrong(report.results);
  return when(
    list.length > 0,
    () => markup`<section id="wrong">
<h2>What went wrong</h2>
${list.map(
  (
    purpose,
  ) => markup`<article class="failure v-${purpose.verdict}"><h3>${mark(purpose.verdict)}<span class="id">${purpose.id}</span> ${purpose.title}</h3>
${purposeDetails(purpose, report)}</article>
`,
)}</section>
`,
  );
}

function purposesSection(report: Report): Markup {
  const { results, notApplicable, outOfReach, filteredOut } = report;
  const boxes = verdicts.map(
    (verdict) => markup`<label><input type="checkbox" value="${verdict}" checked> ${mark(verdict)}${verdict}</label> `,
  );
  const groups = [...grouped(results, ({ entity }) => entity)].map(
    ([entity, list]) => markup`<h3>${entity}</h3>\n${list.map((purpose) => purposeEntry(purpose, report))}`,
  );
  const left = [
    ...outOfReach.map(({ id, reason: why }) => ({ id, why: `out of reach: ${why}` })),
    ...notApplicable.map(({ id, reason: why }) => ({ id, why: `not applicable: ${why}` })),
    ...filteredOut.map((id) => ({ id, why: "left out by the filters" })),
  ];
  return markup`<section id="purposes">
<h2>Test purposes</h2>
<form class="filter"><label>Find <input type="search" placeholder="id, step, clause, word"></label> ${boxes}</form>
${groups}${when(left.length > 0, () => markup`<details class="left"><summary>Not performed: ${left.length}</summary><ul>${left.map(({ id, why }) => markup`<li><span class="id">${id}</span> ${why}</li>`)}</ul></details>\n`)}</section>
`;
}
