// The implementation under test: where its entities are, whom they trust, and as whom the kit comes to them.
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { parse, YAMLParseError } from "yaml";
import { PreSharedKeyFileError, readPreSharedKeyFile } from "../reference/communications/pre-shared-key-file.ts";
import type { PreSharedKey } from "../reference/communications/pre-shared-keys.ts";

export const entityRoles = ["dssm", "kss", "dss"] as const;
export type EntityRole = (typeof entityRoles)[number];

/** Users' sides: data provider and data consumer. They serve nothing, and are judged by what they send. */
export const clientRoles = ["dp", "dc"] as const;
export type ClientRole = (typeof clientRoles)[number];

/** Everything that can be under test. */
export const testedRoles = [...entityRoles, ...clientRoles] as const;
export type TestedRole = (typeof testedRoles)[number];

export function isServer(role: TestedRole): role is EntityRole {
  return (entityRoles as readonly string[]).includes(role);
}

/** First of the harness's ports, unless a target file says otherwise. */
export const defaultBasePort = 7510;

export interface TargetEntity {
  /** host:port of the gRPC interface. */
  readonly endpoint: string;
  /** The URI that its certificate must carry, urn:x1410:entity:KIND:NAME. */
  readonly identity: string;
  /** host:port where its capabilities exposure API answers Connect and gRPC-Web; undefined where there is none. */
  readonly exposure?: string;
  /** Where users come by pre-shared key, and the keys of the kit's users at this entity; undefined where there is no such port. */
  readonly psk?: { readonly endpoint: string; readonly keys: readonly PreSharedKey[] };
}

/** A certificate with what leads to the trust anchor, and its private key, all PEM. */
export interface Credential {
  readonly certificateChainPem: string;
  readonly privateKeyPem: string;
}

/** Everyone as whom the kit may have to come: users, an operator, and the peers that it plays. */
export const partyNames = [
  "provider",
  "consumer",
  "secondProvider",
  "secondConsumer",
  "operator",
  "dssm",
  "kss",
  "dss",
  "secondDssm",
  "secondKss",
] as const;
export type PartyName = (typeof partyNames)[number];

/** The peers that the kit plays, and the certification authority whose certificates the implementation trusts. */
export interface HarnessSettings {
  /** What `x1410 conformance harness` wrote, with the kit's own authority; undefined where an operator issued the peers' certificates. */
  readonly directory: string | undefined;
  readonly host: string;
  /** First of the ports, one for each peer; 0 for free ones. */
  readonly basePort: number;
}

/** What ISO/IEC 9646 calls IXIT, besides endpoints and certificates: what the kit cannot know of the implementation. */
export interface Ixit {
  /** How often the implementation looks for new revocation lists; undefined where nobody said. */
  readonly crlRefreshSeconds: number | undefined;
  /** For one call, from request to answer. */
  readonly callTimeoutSeconds: number;
  /** From `--command` to a healthy implementation. */
  readonly startupSeconds: number;
}

export const defaultIxit: Ixit = { crlRefreshSeconds: undefined, callTimeoutSeconds: 10, startupSeconds: 60 };

/** What a target file says: any of the three entities, and what is needed to test them. */
export interface TargetSettings {
  readonly name: string;
  /** Those under test; at least one. */
  readonly entities: Readonly<Partial<Record<EntityRole, TargetEntity>>>;
  /** Certificates that the implementation's certificates chain to, PEM; "" where the kit's own authority issued them. */
  readonly trustAnchorsPem: string;
  /** Current revocation lists, PEM; "" where none were given. */
  readonly revocationListsPem: string;
  /** Issued by the implementation's operator. */
  readonly credentials: Readonly<Partial<Record<PartyName, Credential>>>;
  readonly harness: HarnessSettings | undefined;
  readonly ixit: Ixit;
}

/** Every entity that a procedure needs: those under test, and in place of the others the peers that the kit plays. */
export interface Target {
  readonly name: string;
  readonly entities: Readonly<Record<EntityRole, TargetEntity>>;
  readonly underTest: ReadonlySet<TestedRole>;
  /** Certificates that the implementation's certificates chain to, PEM. */
  readonly trustAnchorsPem: string;
  /** Current revocation lists, PEM; "" where none were given. */
  readonly revocationListsPem: string;
  readonly provider: Credential;
  readonly consumer: Credential;
  /** Creates the accounts; where absent, accounts of provider and consumer stand ready. */
  readonly operator: Credential | undefined;
  /** For one call or handshake. */
  readonly callTimeoutMs: number;
}

/** A target file that cannot be used; the message says which member and how to mend it. */
export class TargetError extends Error {
  override name = "TargetError";
}

/**
 * Reads a target file in YAML. Paths in it are relative to the file.
 * @throws TargetError
 */
export async function readTargetSettings(path: string): Promise<TargetSettings> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new TargetError(
      `cannot read the target file ${path} (${cause.code}); write one as docs/conformance.md shows`,
    );
  });
  const members = new Members(path, "", parseYaml(path, text));
  members.allow(["name", "entities", "trust", "credentials", "harness", "ixit"]);
  const entities = members.section("entities", entityRoles);
  const underTest = entityRoles.filter((role) => entities.has(role));
  if (underTest.length === 0) throw new TargetError(`${path}: entities names none of ${entityRoles.join(", ")}`);
  const harness = members.has("harness") ? harnessOf(path, members) : undefined;
  const own = harness?.directory !== undefined;
  const credentials = own && !members.has("credentials") ? undefined : members.section("credentials", partyNames);
  const given = partyNames.filter((who) => credentials?.has(who));
  const trust = own && !members.has("trust") ? undefined : members.section("trust", ["anchors", "revocationLists"]);
  return {
    name: members.optionalText("name") ?? path,
    entities: Object.fromEntries(underTest.map((role) => [role, entity(entities, role)])),
    trustAnchorsPem: trust === undefined ? "" : await trust.pem("anchors", "CERTIFICATE"),
    revocationListsPem: trust?.has("revocationLists") ? await trust.pem("revocationLists", "X509 CRL") : "",
    credentials: Object.fromEntries(
      await Promise.all(given.map(async (who) => [who, await credential(credentials as Members, who)] as const)),
    ),
    harness,
    ixit: members.has("ixit") ? ixitOf(members) : defaultIxit,
  };
}

/**
 * Reads the file of a target that is whole: all three entities, with certificates for provider and consumer.
 * @throws TargetError
 */
export async function readTarget(path: string): Promise<Target> {
  const settings = await readTargetSettings(path);
  const { name, entities, credentials, trustAnchorsPem, revocationListsPem, ixit } = settings;
  const { dssm, kss, dss } = entities;
  const { provider, consumer, operator } = credentials;
  if (dssm === undefined || kss === undefined || dss === undefined)
    throw new TargetError(`${path}: entities.${entityRoles.find((role) => entities[role] === undefined)} is missing`);
  if (provider === undefined || consumer === undefined)
    throw new TargetError(`${path}: credentials.${provider === undefined ? "provider" : "consumer"} is missing`);
  const underTest = new Set<TestedRole>(entityRoles);
  return {
    name,
    entities: { dssm, kss, dss },
    underTest,
    trustAnchorsPem,
    revocationListsPem,
    provider,
    consumer,
    operator,
    callTimeoutMs: ixit.callTimeoutSeconds * 1000,
  };
}

function harnessOf(path: string, members: Members): HarnessSettings {
  const harness = members.section("harness", ["directory", "host", "basePort"]);
  const directory = harness.optionalText("directory");
  return {
    directory: directory === undefined ? undefined : resolve(dirname(path), directory),
    host: harness.optionalText("host") ?? "127.0.0.1",
    basePort: harness.number("basePort", defaultBasePort, 0, 65_500),
  };
}

function ixitOf(members: Members): Ixit {
  const ixit = members.section("ixit", ["crlRefreshSeconds", "callTimeoutSeconds", "startupSeconds"]);
  return {
    crlRefreshSeconds: ixit.has("crlRefreshSeconds") ? ixit.number("crlRefreshSeconds", 0, 1, 86_400) : undefined,
    callTimeoutSeconds: ixit.number("callTimeoutSeconds", defaultIxit.callTimeoutSeconds, 1, 600),
    startupSeconds: ixit.number("startupSeconds", defaultIxit.startupSeconds, 1, 3_600),
  };
}

function parseYaml(path: string, text: string): unknown {
  try {
    return parse(text);
  } catch (cause) {
    if (!(cause instanceof YAMLParseError)) throw cause;
    const line = cause.linePos?.[0].line;
    throw new TargetError(
      `${path} is not YAML${line === undefined ? "" : ` (line ${line})`}: ${cause.message.split("\n")[0]}`,
    );
  }
}

function entity(entities: Members, role: EntityRole): TargetEntity {
  const members = entities.section(role, ["endpoint", "identity", "exposure", "psk"]);
  const address = /^[^\s/]+:\d{1,5}$/;
  const endpoint = members.text("endpoint", address, "host:port");
  const identity = members.text(
    "identity",
    new RegExp(`^urn:x1410:entity:${role}:[a-z0-9][a-z0-9.-]{0,62}$`),
    `urn:x1410:entity:${role}:NAME, as in the certificate`,
  );
  const exposure = members.has("exposure") ? members.text("exposure", address, "host:port") : undefined;
  const psk = members.has("psk") ? preSharedKeysOf(members.section("psk", ["endpoint", "keys"]), address) : undefined;
  return { endpoint, identity, ...(exposure !== undefined && { exposure }), ...(psk && { psk }) };
}

function preSharedKeysOf(members: Members, address: RegExp): NonNullable<TargetEntity["psk"]> {
  const endpoint = members.text("endpoint", address, "host:port");
  const path = members.path("keys");
  try {
    return { endpoint, keys: readPreSharedKeyFile(path) };
  } catch (cause) {
    if (cause instanceof PreSharedKeyFileError) throw new TargetError(cause.message);
    throw cause;
  }
}

async function credential(credentials: Members, who: PartyName): Promise<Credential> {
  const members = credentials.section(who, ["certificate", "privateKey"]);
  return {
    certificateChainPem: await members.pem("certificate", "CERTIFICATE"),
    privateKeyPem: await members.pem("privateKey", "PRIVATE KEY"),
  };
}

/** The members of one mapping of the file, with errors that name their place. */
export class Members {
  readonly #file: string;
  readonly #place: string;
  readonly #members: ReadonlyMap<string, unknown>;

  constructor(file: string, place: string, value: unknown) {
    this.#file = file;
    this.#place = place;
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new TargetError(`${file}: ${place === "" ? "the file" : place} must be a mapping of names to values`);
    this.#members = new Map(Object.entries(value));
  }

  allow(names: readonly string[]): this {
    const unknown = [...this.#members.keys()].find((name) => !names.includes(name));
    if (unknown !== undefined)
      throw new TargetError(`${this.#file}: ${this.#at(unknown)} is unknown; known here: ${names.join(", ")}`);
    return this;
  }

  has(name: string): boolean {
    return this.#members.get(name) !== undefined;
  }

  section(name: string, names: readonly string[]): Members {
    if (!this.has(name)) throw new TargetError(`${this.#file}: ${this.#at(name)} is missing`);
    return new Members(this.#file, this.#at(name), this.#members.get(name)).allow(names);
  }

  optionalText(name: string): string | undefined {
    return this.has(name) ? this.text(name, /./, "a text") : undefined;
  }

  text(name: string, pattern: RegExp, meaning: string): string {
    const value = this.#members.get(name);
    if (typeof value !== "string" || !pattern.test(value))
      throw new TargetError(`${this.#file}: ${this.#at(name)} must be ${meaning}`);
    return value;
  }

  number(name: string, otherwise: number, least: number, most: number): number {
    const value = this.#members.get(name) ?? otherwise;
    if (typeof value !== "number" || !(value >= least && value <= most))
      throw new TargetError(`${this.#file}: ${this.#at(name)} must be a number from ${least} to ${most}`);
    return value;
  }

  /** Relative to the file. */
  path(name: string): string {
    return resolve(dirname(this.#file), this.text(name, /./, "the path of a file"));
  }

  async pem(name: string, label: string): Promise<string> {
    const path = this.path(name);
    const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
      throw new TargetError(`${this.#file}: ${this.#at(name)}: cannot read ${path} (${cause.code})`);
    });
    if (!text.includes(`-----BEGIN ${label}-----`))
      throw new TargetError(`${this.#file}: ${this.#at(name)}: ${path} has no PEM block "${label}"`);
    return text;
  }

  #at(name: string): string {
    return this.#place === "" ? name : `${this.#place}.${name}`;
  }
}
