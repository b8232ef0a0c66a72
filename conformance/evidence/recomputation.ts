// A report is believed only where it follows from its own results: selection, static review, coverage of the claims and conclusion are
// computed anew from the suite, the statements and the verdicts.
import { conclude } from "../conclusion.ts";
import { unobservable } from "../coverage.ts";
import { frozenDigest } from "../frozen-suite.ts";
import { type Pics, proforma, staticReview } from "../pics.ts";
import type { Purpose } from "../purposes/purpose.ts";
import { expectationText } from "../refusal.ts";
import type { Report } from "../report/report.ts";
import { itemsOf, type Situation, select, untested } from "../selection.ts";
import { suiteHash, suiteVersion } from "../suite.ts";
import { EvidenceError } from "./evidence-error.ts";

/** @throws EvidenceError other_suite, report_inconsistent */
export function recompute(report: Report, purposes: readonly Purpose[]): void {
  const { suite } = report;
  if (suite.hash !== suiteHash(purposes) || suite.version !== suiteVersion)
    throw new EvidenceError(
      "other_suite",
      `${suite.version} (${suite.hash.slice(0, 16)}); this kit has ${suiteVersion}; use kit ${report.kit.version}`,
    );
  assertSame("purposes", suite.purposes, purposes.length);
  assertSame("frozen", suite.frozen, frozenDigest(suiteVersion, purposes));
  const pics = new Map(report.statements.map((one) => [one.entity, claimsOf(one)] as const));
  const situation: Situation = {
    underTest: new Set(report.target.entities.map(({ role }) => role)),
    harness: report.target.commands === undefined && report.outOfReach.length === 0,
    pics,
    ...(report.target.commands && { commands: new Set(report.target.commands.map(({ name }) => name)) }),
  };
  assertSame("statements", [...pics.keys()], [...situation.underTest]);
  assertSelection(report, situation, purposes);
  assertResults(report, purposes);
  const findings = [...pics.values()].flatMap(staticReview);
  assertSame("staticReview", report.staticReview, findings);
  const missing = untested(testedItems(report, purposes), unobservable, situation);
  assertSame("untested", report.untested, missing);
  const { met, stale } = report.expectedFailures;
  const conclusion = conclude({
    selection: { outOfReach: report.outOfReach, filtered: report.filteredOut },
    results: report.results,
    findings,
    untested: missing,
    filtered: report.run.filtered,
    expected: new Map([...met, ...stale].map((id) => [id, ""])),
  });
  for (const [name, value] of Object.entries(conclusion)) assertSame(name, report[name as keyof Report], value);
}

function claimsOf({ entity, implementation, supported, unsupported }: Report["statements"][number]): Pics {
  const items = proforma(entity).map(({ item }) => item);
  assertSame(`items of the ${entity}`, [...supported, ...unsupported].sort(), items.toSorted());
  return { entity, implementation, supported: new Set(supported) };
}

/** Every purpose of the suite is accounted for once, and whatever is called not applicable is. */
function assertSelection(report: Report, situation: Situation, purposes: readonly Purpose[]): void {
  const ids = (list: readonly { readonly id: string }[]) => list.map(({ id }) => id).toSorted();
  const left = new Set(report.filteredOut);
  if (!report.run.filtered) assertSame("filteredOut", [...left], []);
  const wanted = select(
    purposes.filter(({ id }) => !left.has(id)),
    situation,
    {},
  );
  assertSame("results", ids(report.results), ids(wanted.selected));
  assertSame("notApplicable", ids(report.notApplicable), ids(wanted.notApplicable));
  assertSame("outOfReach", ids(report.outOfReach), ids(wanted.outOfReach));
  assertSame("filteredOut", purposes.filter(({ id }) => left.has(id)).length, report.filteredOut.length);
}

/** What passed was asked for as the suite asks for it, and no step of a procedure is worse than its verdict. */
function assertResults({ results }: Report, purposes: readonly Purpose[]): void {
  for (const { id, verdict, expected, clause, procedure } of results) {
    const purpose = purposes.find((one) => one.id === id);
    if (purpose === undefined) throw new EvidenceError("report_inconsistent", `${id} is no purpose of the suite`);
    assertSame(`clause of ${id}`, clause, purpose.clause);
    if (verdict !== "PASS") continue;
    assertSame(`expected of ${id}`, expected, expectationText(purpose.expected));
    const worse = procedure.find((step) => step.verdict !== null && step.verdict !== "PASS");
    if (worse !== undefined)
      throw new EvidenceError("report_inconsistent", `${id} passed, and its step ${worse.id} did not`);
  }
}

/** Items that a performed purpose tests; of a replayed procedure, only the steps that something showed. */
function testedItems({ results }: Report, purposes: readonly Purpose[]): ReadonlySet<string> {
  return new Set(
    results.flatMap(({ id, procedure }) => {
      const hidden = procedure.filter(({ verdict }) => verdict === null).map((step) => step.id);
      const purpose = purposes.find((one) => one.id === id);
      return purpose === undefined ? [] : itemsOf(purpose).filter((item) => !hidden.includes(item));
    }),
  );
}

function assertSame(what: string, given: unknown, wanted: unknown): void {
  if (JSON.stringify(given) !== JSON.stringify(wanted)) throw new EvidenceError("report_inconsistent", what);
}
