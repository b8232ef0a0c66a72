// The commands of a user's side: templates in which the kit puts what it has made for a run, and the reference's own.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type ClientRole, TargetError } from "../target.ts";

/** What each placeholder stands for; the environment has the same under names such as X1410_MANAGEMENT_IDENTITY. */
export const placeholders = {
  management: "host:port of the data-sharing service management",
  managementIdentity: "the URI in its certificate",
  kss: "host:port of the key storage server",
  kssIdentity: "the URI in its certificate",
  dss: "host:port of the data storage server",
  dssIdentity: "the URI in its certificate",
  identity: "the client's own identity, the URI in its certificate",
  certificate: "PEM file: the client's certificate and the issuing authority's",
  key: "PEM file, PKCS #8: the client's private key",
  ca: "PEM file: the trust anchor",
  crl: "PEM file: the revocation lists",
  settings: "JSON file with all of this",
  state: "folder for what the client keeps between its commands",
  input: "file with the data to share",
  rules: "file: how the reference would desensitize those records",
  accessTimes: "accesses that the permission is to grant to each consumer",
  expiration: "end of the permission, RFC 3339",
  contract: "address of the contract",
  policy: "id of the policy",
  text: "words to search for",
  output: "file for the plaintext; must not be there where access is refused",
} as const;

export type Placeholder = keyof typeof placeholders;
export type Values = Partial<Record<Placeholder, string>>;

/** What a client is asked to do, by name. The first of each role is what `--command` gives. */
export const clientCommands = {
  dp: {
    publish: "share {input}, read-only, with {accessTimes} accesses until {expiration} (Figure 3)",
    publishBare: "share {input} without an access permission (Annex A.1)",
    publishRecords: "desensitize the subscriber records of {input} (CSV), then share the result",
    query: "print what the management has of {policy}",
    update: "let {policy} grant {accessTimes} accesses",
    withdraw: "withdraw {policy}",
  },
  dc: {
    access: "access the data behind {contract} and write the plaintext to {output} (Figure 4, Annex A.2)",
    present: "access the data behind {contract} and print the plaintext, whole",
    search: "print the addresses of the contracts that {text} finds",
    subscribe: "print the address of each contract as it is published, until it is told to end",
    records: "print the consumer's access records, with the addresses of their contracts",
  },
} as const satisfies Readonly<Record<ClientRole, Readonly<Record<string, string>>>>;

export type ClientCommand = keyof (typeof clientCommands)["dp"] | keyof (typeof clientCommands)["dc"];
/** Placeholders that only some commands have values for. */
const particular: Readonly<Record<ClientCommand, readonly Placeholder[]>> = {
  publish: ["input", "accessTimes", "expiration"],
  publishBare: ["input"],
  publishRecords: ["input", "accessTimes", "expiration"],
  query: ["policy", "contract"],
  update: ["policy", "contract", "accessTimes"],
  withdraw: ["policy", "contract"],
  access: ["contract", "output"],
  present: ["contract"],
  search: ["text"],
  subscribe: [],
  records: [],
};

/** The placeholders that a command may have. */
export function placeholdersOf(command: ClientCommand): readonly Placeholder[] {
  const others = new Set(Object.values(particular).flat());
  const common = (Object.keys(placeholders) as Placeholder[]).filter((name) => !others.has(name));
  return [...common, ...particular[command]];
}

export type Commands = Partial<Record<ClientCommand, string>>;

/** What `--command` is the template of. */
export const mainCommand: Readonly<Record<ClientRole, ClientCommand>> = { dp: "publish", dc: "access" };

const terms = "--times {accessTimes} --expires {expiration} --read-only --category subscriber-records";
const own = "--profile {settings} --state {state}";

/** Arguments of the reference's own commands. */
export const referenceArguments: Readonly<Record<ClientRole, Commands>> = {
  dp: {
    publish: `provider publish {input} --raw ${terms} ${own}`,
    publishBare: `provider publish {input} --raw --no-permission ${own}`,
    publishRecords: `provider publish {input} --rules {rules} --format csv ${terms} ${own}`,
    query: `provider policy {policy} --json ${own}`,
    update: `provider update {policy} --times {accessTimes} ${own}`,
    withdraw: `provider withdraw {policy} ${own}`,
  },
  dc: {
    access: `consumer access {contract} --out {output} ${own}`,
    present: `consumer access {contract} --present ${own}`,
    search: `consumer search {text} ${own}`,
    subscribe: `consumer subscribe ${own}`,
    records: `consumer records ${own}`,
  },
};

/** The reference's own commands, run by this very Node.js. */
export function referenceCommands(role: ClientRole): Commands {
  const places = ["../../bin/x1410.js", "../../../bin/x1410.js"].map((path) => new URL(path, import.meta.url));
  const program = places.find((place) => existsSync(place));
  if (program === undefined) throw new Error("the kit is not inside its package");
  const prefix = `${quoted(process.execPath)} ${quoted(fileURLToPath(program))}`;
  const entries = Object.entries(referenceArguments[role]).map(([name, line]) => [name, `${prefix} ${line}`]);
  return Object.fromEntries(entries) as Commands;
}

/**
 * The command with every placeholder replaced, quoted for a shell where it has to be.
 * @throws TargetError where a placeholder is unknown, or has no value in this command
 */
export function filled(template: string, values: Values): string {
  return template.replace(/\{([a-zA-Z]+)\}/g, (_, name: string) => quoted(placeholderValue(name, values)));
}

/** One value, as it is. @throws TargetError */
export function placeholderValue(name: string, values: Values): string {
  if (!(name in placeholders))
    throw new TargetError(`{${name}} is no placeholder; there are ${Object.keys(placeholders).join(", ")}`);
  const value = values[name as Placeholder];
  if (value === undefined) throw new TargetError(`{${name}} has no value in this command`);
  return value;
}

/** The values as variables of the environment. */
export function environmentOf(values: Values): Record<string, string> {
  const name = (placeholder: string) => `X1410_${placeholder.replace(/[A-Z]/g, "_$&").toUpperCase()}`;
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [name(key), value]));
}

function quoted(text: string): string {
  return /^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
