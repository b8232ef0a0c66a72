// A run from the options of the command line to its exit code.
import { setTimeout as sleep } from "node:timers/promises";
import { campaign } from "../campaign.ts";
import { clientRoleOf, openClientTarget } from "../clients/client-target.ts";
import { readExpectedFailures } from "../expected-failures.ts";
import { Inconclusive } from "../procedures/procedure.ts";
import { CampaignConsole } from "../report/campaign-console.ts";
import { ConsoleReport } from "../report/console.ts";
import { ProcedureConsole } from "../report/procedure-console.ts";
import type { Report } from "../report/report.ts";
import { prepareReportFiles, writeReportFiles } from "../report/report-files.ts";
import { purposes } from "../suite.ts";
import { type ClientRole, entityRoles } from "../target.ts";
import { filtersOf } from "./filters.ts";
import { endOnInterrupt } from "./interruption.ts";
import { type OpenTarget, openTarget } from "./open-target.ts";
import { defaultMib, procedureIds, type RunOptions } from "./run-options.ts";

/** What a client shares and accesses: a few records say as much as many. */
const CLIENT_RECORD_BYTES = 32 * 1024;

/** Longest wait for what purposes take away from the target after an interrupt. */
const CLEAN_UP_MS = 20_000;

/** Performs the purposes and sets the exit code. @throws TargetError, PicsError, ListenError, ImplementationError */
export async function perform(options: RunOptions): Promise<void> {
  const expectedFailures =
    options.expectedFailures === undefined
      ? new Map<string, string>()
      : await readExpectedFailures(options.expectedFailures, new Set(purposes.map(({ id }) => id)));
  await prepareReportFiles(options);
  let interrupted = false;
  const print = (line: string) => interrupted || process.stdout.write(`${line}\n`);
  const coloured = process.stdout.isTTY === true;
  const steps = options.procedures === true || options.procedure !== undefined;
  const report = steps
    ? new ProcedureConsole(new ConsoleReport(print, coloured))
    : new CampaignConsole(print, coloured);
  const common = { pics: options.pics, command: options.command, client: options.client, seed: options.seed };
  const recordBytes = options.mib * 1024 * 1024;
  const file = options.target;
  const role = options.for ?? (file === undefined ? undefined : await clientRoleOf(file));
  const start = startText(options, role);
  if (start !== undefined) print(start);
  const stop = new AbortController();
  let performing: Promise<Report | undefined> = Promise.resolve(undefined);
  const opening: Promise<OpenTarget> =
    role === undefined
      ? openTarget({ ...common, file, reference: options.reference, recordBytes, stop: stop.signal })
      : openClientTarget({ ...common, file, role, recordBytes: CLIENT_RECORD_BYTES });
  const closed = once(async () => (await opening.catch(() => undefined))?.close());
  const undisturbed = endOnInterrupt(async (signal, again) => {
    interrupted = true;
    stop.abort(new Inconclusive(`interrupted by ${signal}`));
    await opening.catch(() => undefined);
    const late = sleep(CLEAN_UP_MS, undefined, { ref: false });
    const ended = performing.then(
      (result) => result?.leftBehind ?? [],
      () => [],
    );
    const left = await Promise.race([ended, again, late]);
    for (const one of left ?? ["what could not be taken away in time"])
      process.stderr.write(`x1410: left on the target: ${one}\n`);
    await closed();
  });
  try {
    const target = await opening;
    const procedureGlobs = (options.procedure ?? procedureIds).map((id) => `TP/ALL/${id}/*`);
    performing = campaign(target.stage, {
      purposes,
      filters: steps ? { ids: procedureGlobs } : filtersOf(options),
      pics: target.pics,
      expectedFailures,
      // A figure is read from top to bottom.
      parallel: steps ? 1 : options.parallel,
      budgetMs: options.budget * 1000,
      stop: AbortSignal.any([stop.signal, ...(target.ended === undefined ? [] : [target.ended])]),
      reproduce: (id) => commandFor(id, options),
      onSelection: (selection) => report.selection(selection),
      onBegin: (purpose) => report.begin(purpose),
      onStep: (step) => report.step(step),
      onResult: (one, purpose) => report.result(one, purpose),
    });
    const result = await performing;
    if (result === undefined || interrupted) return;
    report.summary(result);
    await writeReportFiles(result, options);
    process.exitCode = result.exitCode;
  } catch (cause) {
    // What comes of an interrupt is no fault of its own.
    if (!interrupted) throw cause;
  } finally {
    await closed();
    if (!interrupted) undisturbed();
  }
}

/** `work` at the first call; every call awaits that one. */
function once(work: () => Promise<void>): () => Promise<void> {
  let begun: Promise<void> | undefined;
  return () => {
    begun ??= work();
    return begun;
  };
}

/** What is started, and around whom; nothing is where servers under test run already. */
function startText({ target, command, reference }: RunOptions, role: ClientRole | undefined): string | undefined {
  if (role !== undefined) {
    const side = role === "dp" ? "data provider" : "data consumer";
    const whose =
      target !== undefined
        ? `the ${side} of ${target}`
        : command !== undefined
          ? `your ${side}: ${command}`
          : undefined;
    return `Starting the kit's servers around ${whose ?? `the reference's own ${side}`}`;
  }
  if (target === undefined) return `Starting ${reference.join(", ")} of the reference in a temporary directory …`;
  return command === undefined ? undefined : `Starting the servers of ${target}: ${command}`;
}

/** One line for a shell that performs the purpose alone, under the same circumstances. */
export function commandFor(id: string, options: RunOptions): string {
  const { target, reference, client, seed, pics, command, mib } = options;
  const quoted = (text: string) => (/^[\w./:=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  const words = ["npx x1410 conformance run", `--id ${quoted(id)}`];
  if (target !== undefined) words.push(`--target ${quoted(target)}`);
  else if (options.for !== undefined) words.push(`--for ${options.for}`);
  else if (reference.length < entityRoles.length) words.push(`--reference ${reference.join(",")}`);
  if (command !== undefined) words.push(`--command ${quoted(command)}`);
  if (mib !== defaultMib) words.push(`--mib ${mib}`);
  if (pics.length > 0) words.push(`--pics ${pics.map(quoted).join(" ")}`);
  return [...words, `--client ${client}`, `--seed ${quoted(seed)}`].join(" ");
}
