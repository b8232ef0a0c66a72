// Counts of checks, their summary line, and the clock that times them.
export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export interface Outcome extends Tally {
  /** Shown where something failed, or was skipped. */
  readonly output: string;
}

export const PASSED: Outcome = { passed: 1, failed: 0, skipped: 0, output: "" };

export function failure(output: string): Outcome {
  return { passed: 0, failed: 1, skipped: 0, output };
}

/** What this machine cannot run, with the reason. */
export function notRun(reason: string): Outcome {
  return { passed: 0, failed: 0, skipped: 1, output: `NOT RUN: ${reason}` };
}

export function total(tallies: readonly Tally[]): Tally {
  const sum = (of: keyof Tally): number => tallies.reduce((before, tally) => before + tally[of], 0);
  return { passed: sum("passed"), failed: sum("failed"), skipped: sum("skipped") };
}

/** The last line of every tool that checks: `12 passed, 0 failed`, and `, 1 skipped` where something was. */
export function summary({ passed, failed, skipped }: Tally): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

export interface Check {
  readonly name: string;
  readonly run: () => Promise<Outcome>;
}

/** Runs a check and prints its line, with the output below where it did not simply pass. A fault of the check itself is a failure. */
export async function report(check: Check): Promise<Tally> {
  const begin = performance.now();
  let outcome: Outcome;
  try {
    outcome = await check.run();
  } catch (error) {
    outcome = failure(error instanceof Error ? error.message : String(error));
  }
  const { passed, failed, skipped, output } = outcome;
  const mark = failed > 0 ? "FAIL" : skipped > 0 && passed === 0 ? "skip" : "ok";
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  const count = passed + failed + skipped > 1 ? `  ${summary(outcome)}` : "";
  console.log(`${mark.padEnd(5)} ${check.name.padEnd(34)} ${seconds.padStart(6)} s${count}`);
  if (output !== "" && (failed > 0 || skipped > 0)) console.log(output.trimEnd().replace(/^/gm, "      "));
  return outcome;
}

/** Prints the totals as the last line and sets the exit code by them. */
export function conclude(tallies: readonly Tally[]): void {
  const all = total(tallies);
  console.log(summary(all));
  // Nothing that passed proves nothing.
  if (all.failed > 0 || all.passed + all.skipped === 0) process.exitCode = 1;
}
