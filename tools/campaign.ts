// `npm run campaign`: the long checks, whole. Its dated result is written to docs/campaign/ and committed.
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { type Check, conclude, failure, PASSED, report } from "./tally.ts";
import { projectEnvironment, ROOT, run } from "./toolchain.ts";
import { unitTests } from "./unit-tests.ts";

const HOUR_MS = 3_600_000;
const figures: string[] = [];

/** A measurement: passes by its exit code, and what it prints goes into the result. */
function measurement(name: string, ...args: string[]): Check {
  return {
    name,
    async run() {
      const { code, output, stdout } = await run("node", args, { timeoutMs: HOUR_MS });
      figures.push(`### ${name}\n\n\`node ${args.join(" ")}\`\n\n\`\`\`\n${stdout.trimEnd()}\n\`\`\``);
      return code === 0 ? PASSED : failure(output);
    },
  };
}

const checks: Check[] = [
  unitTests({ ...projectEnvironment(), X1410_CAMPAIGN: "1" }, HOUR_MS),
  measurement("CPU of a unary call against bare grpc-js", "bench/unary.ts"),
  measurement("encryption against plain AES-256-GCM", "bench/encryption.ts"),
  measurement("memory for 64 MiB against 1 GiB", "bench/streaming.ts"),
  measurement("the ledger as its chain grows", "bench/ledger.ts", "--transactions", "1000000", "--out", "docs/ledger"),
];

const lines: string[] = [];
const tallies = [];
for (const check of checks) {
  const begun = performance.now();
  const tally = await report(check);
  tallies.push(tally);
  const seconds = ((performance.now() - begun) / 1000).toFixed(0);
  lines.push(`| ${check.name} | ${tally.passed} | ${tally.failed} | ${tally.skipped} | ${seconds} |`);
}

const date = new Date().toISOString().slice(0, 10);
const folder = join(ROOT, "docs/campaign");
mkdirSync(folder, { recursive: true });
const machine = `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`;
const revision = (await run("git", ["rev-parse", "--short", "HEAD"])).stdout.trim();
writeFileSync(
  join(folder, `${date}.md`),
  `${[
    `# Campaign of ${date}`,
    `Revision ${revision}, on ${machine}. Written by \`npm run campaign\`.`,
    ["| check | passed | failed | skipped | seconds |", "|---|---|---|---|---|", ...lines].join("\n"),
    "## Figures",
    ...figures,
  ].join("\n\n")}\n`,
);
conclude(tallies);
