// The command x1410. Each subcommand's code is loaded only when it is asked for.
import { createRequire } from "node:module";
import { inspect } from "node:util";
import { Command, CommanderError } from "commander";
import { oneLine } from "./one-line.ts";

interface Subcommand {
  readonly name: string;
  readonly description: string;
  /** Gets the words of the command line after its name that are no options. */
  readonly load: (words: readonly string[]) => Promise<Command>;
  /** Left out of the help: programs of this project call it. */
  readonly hidden?: true;
  /** Exit code where it could not do its work; 1 unless told. */
  readonly faultCode?: number;
}

const SUBCOMMANDS: readonly Subcommand[] = [
  {
    name: "up",
    description: "start the whole reference stack",
    load: async () => (await import("./up.ts")).upCommand(),
  },
  {
    name: "provider",
    description: "share data as a data provider",
    load: async () => (await import("../reference/data-provider/cli.ts")).providerCommand(),
  },
  {
    name: "consumer",
    description: "find and access data as a data consumer",
    load: async () => (await import("../reference/data-consumer/cli.ts")).consumerCommand(),
  },
  {
    name: "operator",
    description: "add users, keep their accounts, revoke certificates, name the proposer of the ledger",
    load: async () => (await import("../reference/operator/cli.ts")).operatorCommand(),
  },
  {
    name: "conformance",
    description: "test an implementation of X.1410, whole or in part",
    load: async (words) => (await import("../conformance/cli.ts")).conformanceCommand(words),
    // 1 and 2 are verdicts.
    faultCode: 3,
  },
  {
    name: "ledger",
    description: "audit the ledger offline",
    load: async () => (await import("../reference/ledger/cli.ts")).ledgerCommand(),
  },
  {
    name: "certs",
    description: "create and run the certification authority of a deployment",
    load: async () => (await import("../certs/cli.ts")).certsCommand(),
  },
  {
    name: "entity",
    description: "serve one entity, as `x1410 up` orders it to",
    load: async () => (await import("./entity.ts")).entityCommand(),
    hidden: true,
  },
];

/** Runs the command line `args` (without node and script). Sets the exit code; it never throws. */
export async function main(args: readonly string[]): Promise<void> {
  // Whoever reads the output may stop early, as `head` does: what was begun goes on, unread, to its own exit code.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE" && error.code !== "ERR_STREAM_DESTROYED") throw error;
    });
  }
  const debug = args.includes("--debug");
  const rest = args.filter((arg) => arg !== "--debug");
  const words = rest.filter((arg) => !arg.startsWith("-"));
  const [wanted, ...further] = words[0] === "help" ? words.slice(1) : words;
  const faultCode = SUBCOMMANDS.find(({ name }) => name === wanted)?.faultCode ?? 1;
  process.on("uncaughtException", (error) => {
    void fail(error, faultCode, debug).finally(() => process.exit());
  });
  try {
    const program = await createProgram(wanted, further);
    await program.parseAsync(rest, { from: "user" });
  } catch (error) {
    // commander has said already what it found.
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : faultCode;
    else await fail(error, faultCode, debug);
  }
}

async function createProgram(wanted: string | undefined, words: readonly string[]): Promise<Command> {
  const program = new Command("x1410")
    .description("protocol, reference implementation and conformance kit for Recommendation ITU-T X.1410")
    .version(version(), "-V, --version")
    .option("--debug", "show stack traces")
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`${oneLine(text.replace(/^error: /, "x1410: "))}\n`) });
  for (const { name, description, load, hidden = false } of SUBCOMMANDS) {
    const command = name === wanted ? inherit(await load(words), program) : new Command(name).description(description);
    program.addCommand(command, { hidden });
  }
  return program;
}

/** Commands made apart from their parent take over how it ends and prints. */
function inherit(command: Command, parent: Command): Command {
  command.copyInheritedSettings(parent);
  for (const child of command.commands) inherit(child, command);
  return command;
}

function version(): string {
  // The package by its own name: the same from the sources and from dist.
  return (createRequire(import.meta.url)("x1410/package.json") as { version: string }).version;
}

/** What explains failures knows every reason of the protocol: loaded when there is one. */
async function fail(error: unknown, exitCode: number, debug: boolean): Promise<void> {
  process.exitCode = exitCode;
  const { failureLine } = await import("./failure.ts");
  console.error(`x1410: ${failureLine(error)}`);
  if (debug) console.error(inspect(error));
}
