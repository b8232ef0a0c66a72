// `x1410 conformance harness`: everything that an implementation needs to be tested with the kit's own peers around it, in a folder.
import { Command, InvalidArgumentError } from "commander";
import { clientRole } from "../clients/client-role.ts";
import { defaultBasePort, type EntityRole, entityRoles } from "../target.ts";
import { wholeNumber } from "./filters.ts";

interface HarnessCommandOptions {
  readonly for: EntityRole[];
  readonly out: string;
  readonly host: string;
  readonly basePort: number;
  readonly name: string;
  readonly endpoint: ReadonlyMap<EntityRole, string>;
  readonly serve?: true;
}

export function harnessCommand(): Command {
  return new Command("harness")
    .requiredOption("--for <roles>", "what is under test, e.g. kss or kss,dss", rolesOf)
    .requiredOption("--out <folder>", "where to; used again where it exists")
    .option("--host <host>", "where the peers listen", "127.0.0.1")
    .option("--base-port <n>", "first of their ports", wholeNumber(1), defaultBasePort)
    .option("--name <name>", "last part of the identities of the implementation", "iut")
    .option(
      "--endpoint <role=host:port>",
      "where the implementation listens; default dssm 127.0.0.1:7410, kss :7411, dss :7412",
      endpointOf,
      new Map<EntityRole, string>(),
    )
    .option("--serve", "keep the peers running, until interrupted, to set the implementation up against them")
    .action(prepare);
}

async function prepare(options: HarnessCommandOptions): Promise<void> {
  const { host, basePort, serve } = options;
  const { writeHarnessFolder } = await import("../harness/harness-folder.ts");
  const folder = await writeHarnessFolder({
    directory: options.out,
    roles: options.for,
    name: options.name,
    host,
    basePort,
    endpoints: options.endpoint,
  });
  process.stdout.write(`${folder.settings}\n`);
  if (serve !== true) return;
  const { Harness } = await import("../harness/harness.ts");
  const harness = await Harness.start({
    directory: options.out,
    host,
    basePort,
    credentials: {},
    trustAnchorsPem: "",
  });
  process.stdout.write("\nThe peers are listening; interrupt to stop them.\n");
  await new Promise<void>((resolve) => {
    process.once("SIGINT", resolve);
    process.once("SIGTERM", resolve);
  });
  await harness.close();
}

function rolesOf(text: string): EntityRole[] {
  const named = text.split(",");
  const user = named.map(clientRole).find((role) => role !== undefined);
  if (user !== undefined)
    throw new InvalidArgumentError(
      `a user's side needs no folder: x1410 conformance run --for ${user} --command '…' stands servers around it (docs/conformance/clients.md).`,
    );
  const known = entityRoles.filter((role) => named.includes(role));
  if (known.length !== named.length || known.length === 0)
    throw new InvalidArgumentError(`some of ${entityRoles.join(",")}.`);
  return known;
}

function endpointOf(text: string, before: ReadonlyMap<EntityRole, string>): ReadonlyMap<EntityRole, string> {
  const [, role, endpoint] = /^(dssm|kss|dss)=([^\s/]+:\d{1,5})$/.exec(text) ?? [];
  if (role === undefined || endpoint === undefined) throw new InvalidArgumentError("e.g. kss=127.0.0.1:7411.");
  return new Map([...before, [role as EntityRole, endpoint]]);
}
