// `x1410 up`: the whole reference stack, started by one command and stopped by Ctrl-C.
import { isIP } from "node:net";
import { Command, InvalidArgumentError, Option } from "commander";
import { silentLog } from "../reference/communications/log.ts";
import { launchHere } from "../reference/stack/one-process.ts";
import { planEntities } from "../reference/stack/plan.ts";
import { EntityProcesses } from "../reference/stack/split-processes.ts";
import { type RunningStack, startStack } from "../reference/stack/stack.ts";
import { standardErrorLog } from "../reference/stack/standard-error-log.ts";

interface UpOptions {
  readonly data: string;
  readonly host: string;
  readonly basePort: number;
  readonly split?: true;
  readonly ledgerNodes?: number;
  readonly crlRefresh: number;
  readonly introspection: "off" | "required";
  readonly psk?: true;
  readonly json?: true;
  readonly verbose?: true;
}

export function upCommand(): Command {
  return new Command("up")
    .description("start the whole reference stack; creates PKI, data directory and two users at first start")
    .option("--data <dir>", "data directory", "x1410-data")
    .option("--host <address>", "address to listen on", hostAddress, "127.0.0.1")
    .option("--base-port <port>", "first of the ports; 0 takes free ones", wholeNumber(0, 65_500), 7410)
    .option("--split", "one process for each entity")
    .option("--ledger-nodes <n>", "nodes of the ledger (default: 1, with --split 3)", wholeNumber(1, 16))
    .option("--crl-refresh <seconds>", "how often entities fetch revocation lists", wholeNumber(1, 86_400), 60)
    .addOption(
      new Option("--introspection <mode>", "whether key storage asks token management about each token")
        .choices(["off", "required"])
        .default("off"),
    )
    .option(
      "--psk",
      "open ports for users with pre-shared keys; keys are in pre-shared-keys.json of each server's folder",
    )
    .option("--json", "print one line of JSON when ready, for programs")
    .option("--verbose", "log what the entities do, on standard error")
    .action(up);
}

async function up(options: UpOptions): Promise<void> {
  const { basePort, ledgerNodes = options.split ? 3 : 1 } = options;
  const stop = stopRequested();
  const processes = new EntityProcesses(entityCommandLine(options), planEntities({ basePort, ledgerNodes }).length);
  const stack = await startStack(
    {
      dataDirectory: options.data,
      host: options.host,
      basePort,
      ledgerNodes,
      revocationRefreshMs: options.crlRefresh * 1000,
      introspection: options.introspection,
      preSharedKeys: options.psk ?? false,
      log: options.verbose ? standardErrorLog : silentLog,
      signal: stop,
    },
    options.split ? processes.launch : launchHere,
  )
    .catch((cause: unknown) => {
      // Asked to stop while it started: it has stopped.
      if (!stop.aborted) throw cause;
    })
    .finally(() => processes.close());
  if (stack === undefined) return;
  process.stdout.write(options.json ? `${JSON.stringify(readyLine(stack))}\n` : readyText(stack));
  const why = await Promise.race([aborted(stop), stack.ended]);
  await stack.close();
  if (why !== undefined) throw new Error(`${why}; the stack was stopped, its data is kept in ${stack.dataDirectory}`);
}

/** Aborts at the first Ctrl-C, SIGTERM or end of the terminal; a second one ends the process at once, as without a handler. */
function stopRequested(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => stop.abort());
  return stop.signal;
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}

function entityCommandLine({ verbose }: UpOptions): string[] {
  const debug = process.argv.includes("--debug");
  return [process.argv[1] ?? "", "entity", ...(verbose ? ["--verbose"] : []), ...(debug ? ["--debug"] : [])];
}

function readyLine({ dataDirectory, entities, users, operator, targetFile, trustAnchor }: RunningStack) {
  return {
    ready: true,
    dataDirectory,
    entities: Object.fromEntries(
      entities.map((entity) => [
        entity.name,
        {
          identity: entity.identity,
          endpoint: entity.endpoint,
          ...secondEndpointOf(entity.kind, entity.secondEndpoint),
          // JSON leaves out what is undefined.
          pskEndpoint: entity.pskEndpoint,
          publicationEndpoint: entity.publicationEndpoint,
          certificate: entity.files.chain,
        },
      ]),
    ),
    users: Object.fromEntries(
      Object.entries(users).map(([name, { identity, profile, files }]) => [
        name,
        { identity, profile, certificate: files.chain, privateKey: files.privateKey },
      ]),
    ),
    operator: {
      identity: operator.identity,
      profile: operator.profile,
      certificate: operator.files.chain,
      privateKey: operator.files.privateKey,
    },
    trustAnchor,
    revocationLists: operator.files.crl,
    targetFile,
  };
}

function secondEndpointOf(kind: string, endpoint: string | undefined) {
  if (endpoint === undefined) return {};
  return kind === "ca" ? { enrolmentEndpoint: endpoint } : { exposureEndpoint: endpoint };
}

function readyText({ dataDirectory, entities, users, operator, targetFile }: RunningStack): string {
  const rows = entities.map(({ name, identity, endpoint, secondEndpoint, pskEndpoint, publicationEndpoint, kind }) => {
    const further = [
      [kind === "ca" ? "enrolment" : "exposure API", secondEndpoint],
      ["pre-shared keys", pskEndpoint],
      ["CRL and OCSP", publicationEndpoint],
    ].map(([what, address]) => (address === undefined ? "" : `   ${what} ${address}`));
    return `  ${name.padEnd(10)} ${endpoint.padEnd(22)} ${identity}${further.join("")}`;
  });
  return [
    `The reference stack is up. Data: ${dataDirectory}`,
    ...rows,
    "",
    "In another terminal:",
    `  npx x1410 provider publish FILE --rules RULES --profile ${users.provider.profile}`,
    `  npx x1410 consumer search --profile ${users.consumer.profile}`,
    `  npx x1410 operator add-user NAME --access --profile ${operator.profile}`,
    `  npx x1410 conformance run --target ${targetFile}`,
    "Both first users, provider and consumer, may publish and access.",
    "Ctrl-C stops it.",
    "",
  ].join("\n");
}

function hostAddress(text: string): string {
  // A name has a letter in it: what consists of digits and dots alone is an address that was misspelt.
  const isName = /^(?=.*[a-z])[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/i.test(text);
  if (isIP(text) === 0 && !isName)
    throw new InvalidArgumentError("give an address or a name of this machine, such as 127.0.0.1.");
  return text;
}

function wholeNumber(from: number, to: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < from || value > to)
      throw new InvalidArgumentError(`give a whole number from ${from} to ${to}.`);
    return value;
  };
}
