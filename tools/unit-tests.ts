// The tests beside the sources, run by vitest, each of them counted.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Check, failure, type Outcome } from "./tally.ts";
import { run } from "./toolchain.ts";

interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly { readonly status: string; readonly assertionResults: readonly unknown[] }[];
}

export interface UnitTestOptions {
  readonly name?: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly timeoutMs?: number;
  /** Only these; all unless told. */
  readonly files?: readonly string[];
}

/** The tests of the chosen files, each counted. */
export function unitTests({ name = "unit tests", environment, timeoutMs, files = [] }: UnitTestOptions): Check {
  return {
    name,
    async run() {
      const folder = mkdtempSync(join(tmpdir(), "x1410-check-"));
      const file = join(folder, "vitest.json");
      try {
        const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
        const { code, output } = await run("vitest", ["run", "--silent=passed-only", ...reporters, ...files], {
          env: { ...environment, NO_COLOR: "1", FORCE_COLOR: "0" },
          ...(timeoutMs !== undefined && { timeoutMs }),
        });
        if (!existsSync(file)) return failure(`vitest gave no report (exit code ${code})\n${failures(output)}`);
        return outcome(JSON.parse(readFileSync(file, "utf8")) as VitestReport, code, output);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  };
}

function outcome(told: VitestReport, code: number, output: string): Outcome {
  // A file that cannot be loaded has no test to count, yet all of its tests failed.
  const unloaded = told.testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0);
  const failed = told.numFailedTests + unloaded.length;
  const skipped = told.numPendingTests + told.numTodoTests;
  // Nor has an error outside any test.
  const unexplained = code !== 0 && failed === 0 ? 1 : 0;
  return { passed: told.numPassedTests, failed: failed + unexplained, skipped, output: failures(output) };
}

/** vitest's output without the line of each file that passed. */
function failures(output: string): string {
  return output
    .split("\n")
    .filter((line) => !/^\s*✓/.test(line) && line.trim() !== "")
    .join("\n");
}
