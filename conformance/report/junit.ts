// The report as JUnit XML, the common denominator of CI servers: the schema of Jenkins' xUnit plugin (junit-10.xsd), no element or
// attribute beyond it.
import { failureText, headline } from "./failure-text.ts";
import { type Markup, markup } from "./markup.ts";
import type { Report, ReportedPurpose } from "./report.ts";
import { grouped } from "./totals.ts";

type Outcome = "passed" | "failure" | "error" | "skipped";

interface Case {
  readonly name: string;
  readonly classname: string;
  readonly seconds: number;
  readonly outcome: Outcome;
  /** e.g. "INCONC"; of what is skipped, nothing. */
  readonly type: string;
  readonly message: string;
  readonly text: string;
}

/**
 * One suite for each entity and component; one for the static conformance review; one for what was not performed, each with its reason.
 * FAIL is a failure; INCONC and ERROR are errors, for neither may turn a build green. A failure that was expected and came is skipped with
 * its text, one that was expected and did not come is a failure: the file says what the exit code says.
 */
export function junitXml(report: Report): string {
  const stale = new Set(report.expectedFailures.stale);
  const met = new Set(report.expectedFailures.met);
  const suites = [...grouped(report.results, ({ entity, component }) => suiteName(entity, component))].map(
    ([name, purposes]) =>
      suite(
        name,
        report,
        purposes.map((purpose) => performed(purpose, report, met, stale)),
      ),
  );
  const all = [
    ...suites,
    suite("static conformance review", report, reviewed(report)),
    suite("not performed", report, omitted(report)),
  ].filter(({ cases }) => cases.length > 0);
  const { tests, failures, errors } = tally(all.flatMap(({ cases }) => cases));
  const seconds = (report.run.durationMs / 1000).toFixed(3);
  const name = `X.1410 conformance of ${report.target.name}`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n${
    markup`<testsuites name="${name}" tests="${tests}" failures="${failures}" errors="${errors}" time="${seconds}">
${all.map(({ xml }) => xml)}</testsuites>
`.text
  }`;
}

function suiteName(entity: string, component: string): string {
  return component.startsWith(`${entity}/`) ? component : `${entity}/${component}`;
}

function suite(
  name: string,
  report: Report,
  cases: readonly Case[],
): { readonly cases: readonly Case[]; readonly xml: Markup } {
  const { tests, failures, errors, skipped } = tally(cases);
  const seconds = cases.reduce((sum, one) => sum + one.seconds, 0).toFixed(3);
  // The schema's timestamps have neither fractions nor a zone; they are UTC.
  const timestamp = report.run.startedAt.slice(0, 19);
  const xml = markup`<testsuite name="${name}" tests="${tests}" failures="${failures}" errors="${errors}" skipped="${skipped}" time="${seconds}" timestamp="${timestamp}">
<properties>
${properties(report)}</properties>
${cases.map(caseXml)}</testsuite>
`;
  return { cases, xml };
}

function properties({
  kit,
  suite: { version, hash, recommendation, profile, frozen },
  run,
  conformance,
  verdict,
}: Report): Markup[] {
  const values = {
    conformance,
    verdict: verdict ?? "none",
    recommendation,
    profile,
    kit: kit.version,
    suite: version,
    "suite-hash": hash,
    "suite-frozen": frozen,
    seed: run.seed,
    client: run.client,
  };
  return Object.entries(values).map(([name, value]) => markup`<property name="${name}" value="${value}"/>\n`);
}

function caseXml({ name, classname, seconds, outcome, type, message, text }: Case): Markup {
  const head = markup`<testcase name="${name}" classname="${classname}" time="${seconds.toFixed(3)}"`;
  switch (outcome) {
    case "passed":
      return markup`${head}/>\n`;
    case "failure":
      return markup`${head}>\n<failure type="${type}" message="${message}">${text}</failure>\n</testcase>\n`;
    case "error":
      return markup`${head}>\n<error type="${type}" message="${message}">${text}</error>\n</testcase>\n`;
    case "skipped":
      return markup`${head}>\n<skipped message="${message}">${text}</skipped>\n</testcase>\n`;
  }
}

function performed(
  purpose: ReportedPurpose,
  report: Report,
  met: ReadonlySet<string>,
  stale: ReadonlySet<string>,
): Case {
  const { id, title, entity, component, durationMs, verdict } = purpose;
  const common = {
    name: `${id} ${title}`,
    classname: suiteName(entity, component).replaceAll("/", "."),
    seconds: durationMs / 1000,
    type: verdict,
  };
  if (stale.has(id))
    return { ...common, outcome: "failure", type: "STALE", message: "expected to fail, and passed", text: "" };
  if (verdict === "PASS") return { ...common, outcome: "passed", message: "", text: "" };
  const texts = { message: headline(purpose), text: failureText(purpose, report) };
  if (met.has(id)) return { ...common, ...texts, outcome: "skipped", message: `FAIL, as expected: ${texts.message}` };
  return { ...common, ...texts, outcome: verdict === "FAIL" ? "failure" : "error" };
}

function reviewed({ staticReview }: Report): Case[] {
  return staticReview.map(({ entity, item, clause, text }) => ({
    name: `${entity} ${item}`,
    classname: "PICS",
    seconds: 0,
    outcome: "failure",
    type: "FAIL",
    message: text,
    text: `clause ${clause}`,
  }));
}

function omitted({ notApplicable, outOfReach, filteredOut }: Report): Case[] {
  const skipped = (id: string, message: string): Case => ({
    name: id,
    classname: id.split("/").slice(1, -1).join("."),
    seconds: 0,
    outcome: "skipped",
    type: "",
    message,
    text: "",
  });
  return [
    ...notApplicable.map(({ id, reason }) => skipped(id, `not applicable: ${reason}`)),
    ...outOfReach.map(({ id, reason }) => skipped(id, `out of reach: ${reason}`)),
    ...filteredOut.map((id) => skipped(id, "left out by the filters")),
  ];
}

function tally(cases: readonly Case[]) {
  const having = (outcome: Outcome) => cases.filter((one) => one.outcome === outcome).length;
  return { tests: cases.length, failures: having("failure"), errors: having("error"), skipped: having("skipped") };
}
