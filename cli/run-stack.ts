// The reference stack from the options of the command line until it is asked to stop.
import { launchHere } from "../reference/stack/one-process.ts";
import { type EntityPlan, planEntities } from "../reference/stack/plan.ts";
import { EntityProcesses } from "../reference/stack/split-processes.ts";
import { type RunningStack, startStack } from "../reference/stack/stack.ts";
import { faultLog, standardErrorLog } from "../reference/stack/standard-error-log.ts";

const HOUR_MS = 60 * 60_000;

export interface UpOptions {
  readonly data: string;
  readonly host: string;
  readonly basePort: number;
  readonly split?: true;
  readonly ledgerNodes?: number;
  readonly crlRefresh: number;
  readonly introspection: "off" | "required";
  readonly tokenKeyRotation: number;
  readonly kekRotation: number;
  readonly psk?: true;
  readonly json?: true;
  readonly verbose?: true;
}

/** Runs until it is asked to stop, or an entity ends by itself that is no node of a ledger with several. */
export async function runStack(options: UpOptions): Promise<void> {
  const { basePort, ledgerNodes = options.split ? 3 : 1 } = options;
  const stop = stopRequested();
  // Where the ledger has several nodes, each of them may end and come back without the others.
  const apart = ({ nodes }: EntityPlan) => options.split === true || nodes.length > 1;
  const count = planEntities({ basePort, ledgerNodes }).filter(apart).length;
  const processes = new EntityProcesses(entityCommandLine(options), count);
  const stack = await startStack(
    {
      dataDirectory: options.data,
      host: options.host,
      basePort,
      ledgerNodes,
      revocationRefreshMs: options.crlRefresh * 1000,
      introspection: options.introspection,
      rotation: { tokenKeyMs: options.tokenKeyRotation * HOUR_MS, kekMs: options.kekRotation * 24 * HOUR_MS },
      preSharedKeys: options.psk ?? false,
      log: options.verbose ? standardErrorLog : faultLog(),
      signal: stop,
    },
    (launch) => (apart(launch.plan) ? processes.launch(launch) : launchHere(launch)),
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
