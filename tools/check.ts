// All quick checks of the repository: npm test. Each one runs whatever happened to those before it; the last line has the totals.
// npm test -- NAME… runs only those whose name contains one of the words.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { staleFiles } from "./generate.ts";
import { lastRelease } from "./release-protocol.ts";
import { type Check, conclude, failure, PASSED, report } from "./tally.ts";
import { projectEnvironment, run } from "./toolchain.ts";
import { unitTests } from "./unit-tests.ts";
import { VALIDATE_MODULE, writeValidateProto } from "./validate-proto.ts";

/** A command that passes by its exit code. */
function command(name: string, program: string, ...args: string[]): Check {
  return {
    name,
    async run() {
      const { code, output } = await run(program, args);
      return code === 0 ? PASSED : failure(output);
    },
  };
}

// Short ones.
const statics: Check[] = [
  command("format and lint", "biome", "check", "--colors=off", "."),
  command("types", "tsc", "--noEmit"),
  command("protocol format", "buf", "format", "-d", "--exit-code", "proto"),
  command("protocol lint", "buf", "lint", "proto"),
  {
    name: "protocol compatible with its release",
    run: async () => command("", "buf", "breaking", "proto", "--against", lastRelease()).run(),
  },
  {
    name: "generated files current",
    async run() {
      const stale = await staleFiles();
      return stale.length === 0 ? PASSED : failure([...stale, "npm run generate mends it."].join("\n"));
    },
  },
];

/** Some two minutes on two quiet cores; a loaded machine is no failure. */
const UNIT_TESTS_TIMEOUT_MS = 20 * 60_000;

/** The kit over one of its client stacks; every purpose and every step of a procedure that was judged counts. */
function kit(client: string, ...options: string[]): Check {
  return {
    name: `the kit over ${client}`,
    async run() {
      const folder = mkdtempSync(join(tmpdir(), "x1410-check-"));
      const file = join(folder, "report.json");
      try {
        const { code, output } = await run("node", [
          "bin/x1410.js",
          "conformance",
          "run",
          "--client",
          client,
          "--mib",
          "1",
          "--json",
          file,
          ...options,
        ]);
        if (!existsSync(file)) return failure(output);
        const { results, conformance } = JSON.parse(readFileSync(file, "utf8")) as KitReport;
        const verdicts = results.flatMap(({ verdict, procedure }) => [
          verdict,
          ...procedure.flatMap((step) => step.verdict ?? []),
        ]);
        const passed = verdicts.filter((verdict) => verdict === "PASS").length;
        // What passed without being complete is no failure of the code; the gaps have a check of their own.
        const good = passed > 0 && (code === 0 || conformance === "partial");
        const failed = Math.max(verdicts.length - passed, good ? 0 : 1);
        return { passed, failed, skipped: 0, output };
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  };
}

interface KitReport {
  readonly conformance: string;
  readonly results: readonly {
    readonly verdict: string;
    readonly procedure: readonly { readonly verdict: string | null }[];
  }[];
}

async function together(checks: readonly Check[], lanes: number): Promise<Awaited<ReturnType<typeof report>>[]> {
  const waiting = [...checks];
  const lane = async (): Promise<Awaited<ReturnType<typeof report>>[]> => {
    const tallies = [];
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) tallies.push(await report(next));
    return tallies;
  };
  return (await Promise.all(Array.from({ length: lanes }, lane))).flat();
}

const words = process.argv.slice(2);
const chosen = (checks: Check[]): Check[] =>
  checks.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)));

// buf reads it in several of the checks.
writeValidateProto(VALIDATE_MODULE);
const units = unitTests({ environment: projectEnvironment(), timeoutMs: UNIT_TESTS_TIMEOUT_MS });
conclude([
  // The short ones take what the unit tests leave of two cores while they wait for servers and disks.
  ...(await together(chosen([units, ...statics]), 2)),
  ...(await together(chosen([kit("grpc"), kit("connect", "--procedures")]), 2)),
]);
