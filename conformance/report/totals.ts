// What is counted, in one place, so that console, JSON, JUnit and HTML cannot disagree.
import type { Verdict } from "../verdict.ts";
import type { Report, ReportedPurpose } from "./report.ts";

/** In the order in which reports list them. */
export const verdicts: readonly Verdict[] = ["PASS", "FAIL", "INCONC", "ERROR"];

export type Counts = Readonly<Record<Verdict, number>>;

export interface Totals extends Counts {
  readonly performed: number;
  readonly notApplicable: number;
  readonly outOfReach: number;
  readonly filteredOut: number;
}

export function totalsOf(report: Report): Totals {
  return {
    ...countsOf(report.results),
    performed: report.results.length,
    notApplicable: report.notApplicable.length,
    outOfReach: report.outOfReach.length,
    filteredOut: report.filteredOut.length,
  };
}

export function countsOf(results: readonly Pick<ReportedPurpose, "verdict">[]): Counts {
  const counts: Record<Verdict, number> = { PASS: 0, FAIL: 0, INCONC: 0, ERROR: 0 };
  for (const { verdict } of results) counts[verdict] += 1;
  return counts;
}

/** Results by what `key` says of each, in the order in which the keys first come. */
export function grouped(
  results: readonly ReportedPurpose[],
  key: (purpose: ReportedPurpose) => string,
): ReadonlyMap<string, readonly ReportedPurpose[]> {
  return Map.groupBy(results, key);
}
