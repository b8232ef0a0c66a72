// `x1410 conformance run`: performs test purposes against an implementation and says what may be said of it.
import { Command, InvalidArgumentError, Option } from "commander";
import { campaign } from "../campaign.ts";
import { type ClientStack, clientStacks } from "../channels.ts";
import { clientRole, clientRoleNames, clientRoleOf, openClientTarget } from "../clients/client-target.ts";
import { readExpectedFailures } from "../expected-failures.ts";
import { CampaignConsole } from "../report/campaign-console.ts";
import { ConsoleReport } from "../report/console.ts";
import { ProcedureConsole } from "../report/procedure-console.ts";
import { prepareReportFiles, type ReportFiles, writeReportFiles } from "../report/report-files.ts";
import { purposes } from "../suite.ts";
import { type ClientRole, type EntityRole, entityRoles } from "../target.ts";
import { type FilterOptions, filtersOf, wholeNumber, withFilters } from "./filters.ts";
import { closeOnInterrupt } from "./interruption.ts";
import { type OpenTarget, openTarget } from "./open-target.ts";

interface RunOptions extends FilterOptions, ReportFiles {
  readonly target?: string;
  readonly for?: ClientRole;
  readonly reference: EntityRole[];
  readonly command?: string;
  readonly client: ClientStack;
  readonly pics: string[];
  readonly procedures?: true;
  readonly procedure?: string[];
  readonly expectedFailures?: string;
  readonly parallel: number;
  readonly budget: number;
  readonly seed: string;
  readonly mib: number;
}

/** What a client shares and accesses: a few records say as much as many. */
const CLIENT_RECORD_BYTES = 32 * 1024;

const procedureIds = ["F3", "F4", "A1", "A2"];

export function runCommand(): Command {
  const command = new Command("run")
    .description("perform test purposes and give each its verdict")
    .option("--target <file>", "the implementation; without it the reference, with the kit's own peers around it")
    .option("--for <role>", "test a user's side instead: dp, data provider, or dc, data consumer", userRole)
    .option("--reference <roles>", "which entities of the reference, e.g. kss,dss", roles, [...entityRoles])
    .option(
      "--command <line>",
      "starts the implementation; with --for, the client's main command, e.g. 'get {contract} {output}'",
    )
    .addOption(
      new Option("--client <stack>", "the kit's client stack").choices(Object.keys(clientStacks)).default("grpc"),
    )
    .option("--pics <file...>", "statements of the supplier; default: all that is mandatory", [])
    .option("--procedures", "only Figure 3, Figure 4, Annex A.1 and A.2, step by step")
    .addOption(new Option("--procedure <id...>", "only these of them").choices(procedureIds));
  return withFilters(command)
    .option("--expected-failures <file>", "ids that must fail; one that passes fails the run")
    .option("--parallel <n>", "purposes at the same time", wholeNumber(1), 4)
    .option("--budget <seconds>", "for the whole campaign", wholeNumber(1), 1_800)
    .option("--seed <text>", "makes data and mutations", "1410")
    .option("--mib <n>", "size of the subscriber records in MiB", wholeNumber(1), 3)
    .option("--json <file>", "write the report as JSON as well")
    .option("--junit <file>", "and as JUnit XML")
    .option("--html <file>", "and as one HTML page")
    .addHelpText(
      "after",
      "\nExit codes: 0 conformant, or with a filter all that was selected passed; 1 not conformant; 2 inconclusive, or passed and not complete;" +
        "\n3 a fault of the kit or its configuration, or nothing selected; 4 an expected failure passed.",
    )
    .action(run);
}

async function run(options: RunOptions): Promise<void> {
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
  if (options.target === undefined)
    print(`Starting ${options.for ?? options.reference.join(", ")} of the reference in a temporary directory …`);
  const common = { pics: options.pics, command: options.command, client: options.client, seed: options.seed };
  const recordBytes = options.mib * 1024 * 1024;
  const file = options.target;
  const role = options.for ?? (file === undefined ? undefined : await clientRoleOf(file));
  let target: OpenTarget | undefined;
  const undisturbed = closeOnInterrupt(async () => {
    interrupted = true;
    await target?.close();
  });
  try {
    target =
      role === undefined
        ? await openTarget({ ...common, file, reference: options.reference, recordBytes })
        : await openClientTarget({ ...common, file, role, recordBytes: CLIENT_RECORD_BYTES });
    const procedureGlobs = (options.procedure ?? procedureIds).map((id) => `TP/ALL/${id}/*`);
    const result = await campaign(target.stage, {
      purposes,
      filters: steps ? { ids: procedureGlobs } : filtersOf(options),
      pics: target.pics,
      expectedFailures,
      // A figure is read from top to bottom.
      parallel: steps ? 1 : options.parallel,
      budgetMs: options.budget * 1000,
      reproduce: (id) => commandFor(id, options),
      onSelection: (selection) => report.selection(selection),
      onBegin: (purpose) => report.begin(purpose),
      onStep: (step) => report.step(step),
      onResult: (one, purpose) => report.result(one, purpose),
    });
    report.summary(result);
    await writeReportFiles(result, options);
    process.exitCode = result.exitCode;
  } finally {
    await target?.close();
    undisturbed();
  }
}

/** One line for a shell that performs the purpose alone, under the same circumstances. */
function commandFor(id: string, options: RunOptions): string {
  const { target, reference, client, seed, pics, command } = options;
  const quoted = (text: string) => (/^[\w./:=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  const words = ["npx x1410 conformance run", `--id ${quoted(id)}`];
  if (target !== undefined) words.push(`--target ${quoted(target)}`);
  else if (options.for !== undefined)
    words.push(`--for ${options.for}`, ...(command === undefined ? [] : [`--command ${quoted(command)}`]));
  else if (reference.length < entityRoles.length) words.push(`--reference ${reference.join(",")}`);
  if (pics.length > 0) words.push(`--pics ${pics.map(quoted).join(" ")}`);
  return [...words, `--client ${client}`, `--seed ${quoted(seed)}`].join(" ");
}

function userRole(text: string): ClientRole {
  const role = clientRole(text);
  if (role === undefined) throw new InvalidArgumentError(`one of ${clientRoleNames.join(", ")}.`);
  return role;
}

function roles(text: string): EntityRole[] {
  const named = text.split(",");
  const known = entityRoles.filter((role) => named.includes(role));
  if (known.length !== named.length) throw new InvalidArgumentError(`some of ${entityRoles.join(",")}.`);
  return known;
}
