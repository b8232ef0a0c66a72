// `x1410 conformance`: the kit on the command line.
import { writeFile } from "node:fs/promises";
import { Command, Option } from "commander";
import { type ClientStack, clientStacks } from "./channels.ts";
import { subscriberRecords } from "./procedures/subscriber-records.ts";
import { ConsoleReport } from "./report/console.ts";
import { procedures, type RunResult, run } from "./run.ts";
import { readTarget, type Target } from "./target.ts";

/** What the exit code of a run means. */
export const exitCodes = { PASS: 0, FAIL: 1, INCONC: 2, ERROR: 3 } as const;

interface RunCommandOptions {
  readonly target?: string;
  readonly client: ClientStack;
  readonly seed: string;
  readonly mib: number;
  readonly json?: string;
  readonly procedure?: string[];
}

export function conformanceCommand(): Command {
  const command = new Command("conformance").description("replay the procedures of X.1410 against an implementation");
  command
    .command("run")
    .description("replay Figure 3, Figure 4, Annex A.1 and A.2 and give each step its verdict")
    .option("--target <file>", "the implementation; without it the reference stack is started for the run")
    .addOption(
      new Option("--client <stack>", "the kit's client stack").choices(Object.keys(clientStacks)).default("grpc"),
    )
    .addOption(new Option("--procedure <id...>", "only these procedures").choices(procedures.map(({ id }) => id)))
    .option("--seed <text>", "makes the subscriber records", "1410")
    .option("--mib <n>", "size of the subscriber records in MiB", Number, 3)
    .option("--json <file>", "write the results as JSON as well")
    .addHelpText(
      "after",
      "\nExit codes: 0 every observable step passed, 1 a step failed, 2 inconclusive, 3 a fault of the kit or its configuration.",
    )
    .action(runCommand);
  return command;
}

async function runCommand(options: RunCommandOptions): Promise<void> {
  const from = performance.now();
  const report = new ConsoleReport((line) => process.stdout.write(`${line}\n`), process.stdout.isTTY === true);
  const result = await onTarget(options.target, (target) =>
    run(target, {
      client: options.client,
      records: subscriberRecords({ seed: options.seed, bytes: options.mib * 1024 * 1024 }),
      ...(options.procedure && { selected: procedures.filter(({ id }) => options.procedure?.includes(id)) }),
      onProcedure: (procedure) => report.procedure(procedure),
      onStep: (step) => report.step(step),
    }),
  );
  report.summary(result, (performance.now() - from) / 1000);
  if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(result, undefined, 2)}\n`);
  process.exitCode = exitCodes[result.verdict ?? "INCONC"];
}

/** The target of the file, or the reference stack, started in a temporary directory and taken away afterwards. */
async function onTarget(file: string | undefined, use: (target: Target) => Promise<RunResult>): Promise<RunResult> {
  if (file !== undefined) return use(await readTarget(file));
  const { temporaryStack } = await import("./reference-target.ts");
  const stack = await temporaryStack();
  try {
    return await use(await readTarget(stack.targetFile));
  } finally {
    await stack.close();
  }
}
