// Verdicts of ISO/IEC 9646-1 and the order in which they overwrite one another: none < pass < inconc < fail < error.

/** PASS and FAIL judge the implementation; INCONC says that nothing could be judged; ERROR is a fault of the kit itself. */
export type Verdict = "PASS" | "INCONC" | "FAIL" | "ERROR";

const order: readonly Verdict[] = ["PASS", "INCONC", "FAIL", "ERROR"];

/** The verdict that remains when all of `verdicts` fall; undefined where there is none, which is never a pass. */
export function overwrite(verdicts: Iterable<Verdict>): Verdict | undefined {
  let worst: Verdict | undefined;
  for (const verdict of verdicts)
    if (worst === undefined || order.indexOf(verdict) > order.indexOf(worst)) worst = verdict;
  return worst;
}
