// The implementation under test: where its entities are, whom they trust, and as whom the kit comes to them.
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { parse, YAMLParseError } from "yaml";

export type EntityRole = "dssm" | "kss" | "dss";

export interface TargetEntity {
  /** host:port of the gRPC interface. */
  readonly endpoint: string;
  /** The URI that its certificate must carry, urn:x1410:entity:KIND:NAME. */
  readonly identity: string;
}

/** A certificate with what leads to the trust anchor, and its private key, all PEM. */
export interface Credential {
  readonly certificateChainPem: string;
  readonly privateKeyPem: string;
}

export interface Target {
  readonly name: string;
  readonly entities: Readonly<Record<EntityRole, TargetEntity>>;
  /** Certificates that the implementation's certificates chain to, PEM. */
  readonly trustAnchorsPem: string;
  /** Current revocation lists, PEM; "" where none were given. */
  readonly revocationListsPem: string;
  readonly provider: Credential;
  readonly consumer: Credential;
  /** Creates the accounts; where absent, accounts of provider and consumer stand ready. */
  readonly operator: Credential | undefined;
}

/** A target file that cannot be used; the message says which member and how to mend it. */
export class TargetError extends Error {
  override name = "TargetError";
}

/**
 * Reads a target file in YAML. Paths in it are relative to the file.
 * @throws TargetError
 */
export async function readTarget(path: string): Promise<Target> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new TargetError(
      `cannot read the target file ${path} (${cause.code}); write one as docs/conformance.md shows`,
    );
  });
  const members = new Members(path, "", parseYaml(path, text));
  members.allow(["name", "entities", "trust", "credentials"]);
  const entities = members.section("entities", ["dssm", "kss", "dss"]);
  const trust = members.section("trust", ["anchors", "revocationLists"]);
  const credentials = members.section("credentials", ["provider", "consumer", "operator"]);
  return {
    name: members.optionalText("name") ?? path,
    entities: { dssm: entity(entities, "dssm"), kss: entity(entities, "kss"), dss: entity(entities, "dss") },
    trustAnchorsPem: await trust.pem("anchors", "CERTIFICATE"),
    revocationListsPem: trust.has("revocationLists") ? await trust.pem("revocationLists", "X509 CRL") : "",
    provider: await credential(credentials, "provider"),
    consumer: await credential(credentials, "consumer"),
    operator: credentials.has("operator") ? await credential(credentials, "operator") : undefined,
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
  const members = entities.section(role, ["endpoint", "identity"]);
  const endpoint = members.text("endpoint", /^[^\s/]+:\d{1,5}$/, "host:port");
  const identity = members.text(
    "identity",
    new RegExp(`^urn:x1410:entity:${role}:[a-z0-9][a-z0-9.-]{0,62}$`),
    `urn:x1410:entity:${role}:NAME, as in the certificate`,
  );
  return { endpoint, identity };
}

async function credential(credentials: Members, who: string): Promise<Credential> {
  const members = credentials.section(who, ["certificate", "privateKey"]);
  return {
    certificateChainPem: await members.pem("certificate", "CERTIFICATE"),
    privateKeyPem: await members.pem("privateKey", "PRIVATE KEY"),
  };
}

/** The members of one mapping of the file, with errors that name their place. */
class Members {
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

  async pem(name: string, label: string): Promise<string> {
    const path = resolve(dirname(this.#file), this.text(name, /./, "the path of a PEM file"));
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
