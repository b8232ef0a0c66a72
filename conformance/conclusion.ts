// What a campaign concludes: the verdict, what may be said of the implementation, why, and the exit code.
import type { PurposeResult } from "./execution.ts";
import type { ExpectedFailures } from "./expected-failures.ts";
import type { Finding } from "./pics.ts";
import type { Report } from "./report/report.ts";
import type { Selection } from "./selection.ts";
import { overwrite, type Verdict } from "./verdict.ts";

/** What the exit code of a run means. */
export const exitCodes = { passed: 0, failed: 1, inconclusive: 2, fault: 3, stale: 4 } as const;

export interface Evidence {
  readonly selection: Pick<Selection, "outOfReach" | "filtered">;
  readonly results: readonly Pick<PurposeResult, "id" | "verdict">[];
  readonly findings: readonly Finding[];
  readonly untested: readonly string[];
  /** Whether somebody left purposes out by filters. */
  readonly filtered: boolean;
  readonly expected: ExpectedFailures;
}

export type Conclusion = Pick<Report, "verdict" | "conformance" | "reasons" | "exitCode" | "expectedFailures">;

/**
 * Exit code 0 without a filter means conformant. With a filter, which is how one works on a failure, it means that what was selected
 * passed; `conformance` is then `partial`, never `conformant`.
 */
export function conclude(evidence: Evidence): Conclusion {
  const { results, findings, expected } = evidence;
  const having = (verdict: Verdict) => results.filter((result) => result.verdict === verdict).map(({ id }) => id);
  const [failed, inconclusive, faulty] = [having("FAIL"), having("INCONC"), having("ERROR")];
  const met = failed.filter((id) => expected.has(id));
  const stale = having("PASS").filter((id) => expected.has(id));
  const unexpected = failed.filter((id) => !expected.has(id));
  const skipped = skippedReasons(evidence);
  const verdicts = [...results.map(({ verdict }) => verdict), ...findings.map(() => "FAIL" as const)];
  const conclusion = (
    conformance: Conclusion["conformance"],
    exitCode: number,
    reasons: readonly string[],
  ): Conclusion => ({
    verdict: overwrite(verdicts) ?? null,
    conformance,
    reasons: stale.length === 0 ? reasons : [`expected to fail, and passed: ${stale.join(", ")}`, ...reasons],
    // A list that hides nothing any more is the smaller evil beside a failure that nobody expected, or a fault.
    exitCode:
      stale.length > 0 && exitCode !== exitCodes.fault && exitCode !== exitCodes.failed ? exitCodes.stale : exitCode,
    expectedFailures: { met, stale },
  });

  if (faulty.length > 0)
    return conclusion("undetermined", exitCodes.fault, [`faults of the kit: ${faulty.join(", ")}`]);
  if (findings.length > 0 || failed.length > 0) {
    const stated = findings.map(({ entity, item, text }) => `${entity} ${item}: ${text}`);
    const reasons = [...stated, ...(failed.length > 0 ? [`failed: ${failed.join(", ")}`] : [])];
    const known = findings.length === 0 && unexpected.length === 0;
    const open = inconclusive.length > 0 || (skipped.length > 0 && !evidence.filtered);
    const rest = open ? exitCodes.inconclusive : exitCodes.passed;
    return conclusion("non-conformant", known ? rest : exitCodes.failed, [...reasons, ...skipped]);
  }
  if (results.length === 0) return conclusion("undetermined", exitCodes.fault, ["no purpose was selected", ...skipped]);
  if (inconclusive.length > 0)
    return conclusion("inconclusive", exitCodes.inconclusive, [`inconclusive: ${inconclusive.join(", ")}`, ...skipped]);
  if (skipped.length > 0)
    return conclusion("partial", evidence.filtered ? exitCodes.passed : exitCodes.inconclusive, skipped);
  return conclusion("conformant", exitCodes.passed, []);
}

/** Before the items. */
export const untestedReason = "claimed and not tested: ";

/** Why what passed is no claim of conformance. */
function skippedReasons({ selection, untested, filtered }: Evidence): string[] {
  const { outOfReach, filtered: left } = selection;
  return [
    ...(filtered && left.length > 0 ? [`${left.length} purposes left out by the filters`] : []),
    ...(outOfReach.length > 0
      ? [`out of reach as the target is set up: ${outOfReach.map(({ id }) => id).join(", ")}`]
      : []),
    ...(untested.length > 0 ? [`${untestedReason}${untested.join(", ")}`] : []),
  ];
}
