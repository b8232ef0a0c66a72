// `npm run campaign`: the long checks, whole. Its dated result is written to docs/campaign/ after each check and committed.
// npm run campaign -- WORD… runs only those whose name contains one of the words: what else was run on that day stays in the result, each
// check with the revision that it was run on, and what was not run is said.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { type Check, conclude, failure, PASSED, report, type Tally } from "./tally.ts";
import { projectEnvironment, ROOT, run } from "./toolchain.ts";
import { unitTests } from "./unit-tests.ts";

const TIMEOUT_MS = 4 * 3_600_000;
/** What a check printed, by its name. */
const figures = new Map<string, string>();

/** Tests of which `npm test` runs a fixed share, whole. */
function whole(name: string, ...files: string[]): Check {
  return unitTests({
    name,
    environment: { ...projectEnvironment(), X1410_CAMPAIGN: "1" },
    timeoutMs: TIMEOUT_MS,
    files,
  });
}

/** A measurement: passes by its exit code, and what it prints goes into the result. */
function measurement(name: string, ...args: string[]): Check {
  return {
    name,
    async run() {
      const { code, output, stdout } = await run("node", args, { timeoutMs: TIMEOUT_MS });
      figures.set(name, `\`node ${args.join(" ")}\`\n\n\`\`\`\n${stdout.trimEnd()}\n\`\`\``);
      return code === 0 ? PASSED : failure(output);
    },
  };
}

const checks: readonly Check[] = [
  whole("every mutant", "conformance/mutants"),
  whole("every subset, client stack and form", "conformance/reference-subsets.test.ts", "cli/up-split.test.ts"),
  whole("both clients of the reference under test", "conformance/clients"),
  whole("the right to propose blocks, handed over and taken over", "cli/change-proposer.test.ts"),
  whole("every damage to what is stored, told or healed", "cli/damage.test.ts"),
  whole("nodes of the ledger killed, 100 rounds each", "reference/ledger/crash.test.ts"),
  whole("nodes of a running ledger killed, stopped and started again", "cli/ledger-node-ends.test.ts"),
  whole("the stack killed, 100 rounds", "reference/stack/crash.test.ts"),
  whole("the key storage server killed, 100 rounds", "reference/key-storage-server/killed-server.test.ts"),
  whole("10,000 bodies for every method", "reference/attacks/mutated-bodies.test.ts"),
  measurement("CPU of a unary call against bare grpc-js", "bench/unary.ts"),
  measurement("encryption against plain AES-256-GCM", "bench/encryption.ts"),
  measurement("memory for 64 MiB against 1 GiB", "bench/streaming.ts"),
  measurement("the ledger as its chain grows", "bench/ledger.ts", "--transactions", "1000000", "--out", "docs/ledger"),
];

const words = process.argv.slice(2);
const chosen = checks.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)));
const date = new Date().toISOString().slice(0, 10);
const file = join(ROOT, "docs/campaign", `${date}.md`);
const changed =
  (await run("git", ["status", "--porcelain", "--", ":!docs"])).stdout.trim() === "" ? "" : " and changes";
const revision = (await run("git", ["rev-parse", "--short", "HEAD"])).stdout.trim() + changed;
const rows = new Map(checks.map(({ name }) => [name, "NOT RUN | | | | |"]));

/** What this run has run; what ran beside it meanwhile has written its rows too. */
const done = new Set<string>();
const tallies: Tally[] = [];
for (const check of chosen) {
  const begun = performance.now();
  const { passed, failed, skipped } = await report(check);
  tallies.push({ passed, failed, skipped });
  const seconds = ((performance.now() - begun) / 1000).toFixed(0);
  done.add(check.name);
  if (existsSync(file)) readEarlier(readFileSync(file, "utf8"));
  rows.set(check.name, `${passed} | ${failed} | ${skipped} | ${seconds} | ${revision} |`);
  write();
}
conclude(tallies);

function readEarlier(text: string): void {
  const [table = "", printed = ""] = text.split("\n## Figures\n");
  for (const [, name = "", row = ""] of table.matchAll(/^\| ([^|]+) \| (\d.*)$/gm))
    if (rows.has(name) && !done.has(name)) rows.set(name, row);
  for (const part of printed.split(/^### /m).slice(1)) {
    const [name = "", ...section] = part.split("\n");
    if (rows.has(name) && !done.has(name)) figures.set(name, section.join("\n").trim());
  }
}

function write(): void {
  mkdirSync(dirname(file), { recursive: true });
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`;
  const parts = [
    `# Campaign of ${date}`,
    `On ${machine}. Written by \`npm run campaign\`.`,
    [
      "| check | passed | failed | skipped | seconds | revision |",
      "|---|---|---|---|---|---|",
      ...[...rows].map(([name, row]) => `| ${name} | ${row}`),
    ].join("\n"),
    "## Figures",
    ...[...figures].map(([name, section]) => `### ${name}\n\n${section}`),
  ];
  writeFileSync(file, `${parts.join("\n\n")}\n`);
}
