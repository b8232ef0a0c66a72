// Protocol implementation conformance statements (PICS, ISO/IEC 9646-7): the proforma of each entity, computed from catalogue and
// descriptors, and what a supplier answers in it.
import { readFile } from "node:fs/promises";
import { parse, YAMLParseError } from "yaml";
import { CAPABILITIES, COMPONENTS, STEPS, type Status } from "./catalogue.ts";
import { methodsOf } from "./protocol.ts";
import { clientRoles, entityRoles, isServer, type TestedRole, testedRoles } from "./target.ts";

export interface PicsItem {
  /** A capability or step of the catalogue, a method "Service/Method", or a feature of the table below. */
  readonly item: string;
  readonly kind: "capability" | "step" | "method" | "feature";
  readonly clause: string;
  readonly status: Status;
  readonly what: string;
}

/** What one entity's supplier claims. */
export interface Pics {
  readonly entity: TestedRole;
  readonly implementation: string;
  readonly supported: ReadonlySet<string>;
}

/** A statement that cannot be used; the message says which item and how to mend it. */
export class PicsError extends Error {
  override name = "PicsError";
}

type FeatureRow = readonly [item: string, roles: readonly TestedRole[], clause: string, status: Status, what: string];

const all = entityRoles;
const users = clientRoles;
/** Choices of the profile that are neither a method nor a line of the Recommendation. */
// biome-ignore format: a table
const features: readonly FeatureRow[] = [
  ["EXPOSURE", all, "6.2.2", "O", "answers Connect and gRPC-Web at an exposure port of its own"],
  ["PSK", all, "7.2.5", "O", "authenticates users by pre-shared key as well, at a port of its own"],
  ["TLS-1.2", all, "7.2.5", "O", "accepts TLS 1.2 besides 1.3"],
  ["SIGN-ECDSA-P256", ["dssm"], "6.2.1", "M", "verifies signatures by ECDSA P-256"],
  ["SIGN-ED25519", ["dssm"], "6.2.1", "M", "verifies signatures by Ed25519"],
  ["SIGN-RSA-PSS", ["dssm"], "6.2.1", "O", "verifies signatures by RSA-PSS"],
  ["SIGN-ML-DSA-65", ["dssm"], "6.2.1", "O", "verifies signatures by ML-DSA-65"],
  ["TOKEN-ES256", ["kss"], "6.2.3", "M", "verifies tokens signed with ECDSA P-256"],
  ["TOKEN-EDDSA", ["kss"], "6.2.3", "M", "verifies tokens signed with Ed25519"],
  ["HEALTH", all, "6.2", "R", "answers the standard gRPC health service"],
  ["LEDGER-EVIDENCE", users, "6", "R", "checks by itself that the ledger holds what the management says"],
  ["REFLECTION", all, "6.2", "O", "answers the standard gRPC reflection service"],
];

/** Of the capabilities that the whole system has, those that each shows. */
const wholeSystem: Readonly<Record<string, readonly TestedRole[]>> = {
  AAC1: all,
  AAC2: [...all, ...users],
  AAC3: all,
  AAC4: [...all, ...users],
  S1: ["dssm"],
  S2: [...all, ...users],
  S3: ["kss"],
  S4: ["dssm"],
  S5: ["dc"],
};

/** Every item of an entity, capabilities first, then steps, methods, features. */
export function proforma(role: TestedRole): readonly PicsItem[] {
  const entity = role.toUpperCase();
  const components = new Set([entity, ...COMPONENTS.filter((one) => one.entity === entity).map(({ id }) => id)]);
  const capabilities = CAPABILITIES.filter(
    ({ id, owners }) => owners.some((owner) => components.has(owner)) || wholeSystem[id]?.includes(role),
  ).map(({ id, clause, status, what }): PicsItem => ({ item: id, kind: "capability", clause, status, what }));
  const steps = STEPS.filter(({ from, to }) => components.has(from) || components.has(to)).map(
    ({ id, clause, status, what, arrow }): PicsItem => ({
      item: id,
      kind: "step",
      clause,
      status,
      what: `${arrow}: ${what}`,
    }),
  );
  const methods = (isServer(role) ? methodsOf(role) : []).map(
    ({ name, clause, status, component }): PicsItem => ({
      item: name,
      kind: "method",
      clause,
      status,
      what: `method of ${component}`,
    }),
  );
  const own = features
    .filter(([, roles]) => roles.includes(role))
    .map(([item, , clause, status, what]): PicsItem => ({ item, kind: "feature", clause, status, what }));
  return [...capabilities, ...steps, ...methods, ...own];
}

/** What is taken for claimed where no statement was given: all that is mandatory, and nothing else. */
export function mandatoryOnly(entity: TestedRole): Pics {
  const supported = proforma(entity).filter(({ status }) => status === "M");
  return { entity, implementation: "", supported: new Set(supported.map(({ item }) => item)) };
}

/** Everything but `except`. */
export function allBut(entity: TestedRole, implementation: string, except: ReadonlySet<string>): Pics {
  const items = proforma(entity).map(({ item }) => item);
  return { entity, implementation, supported: new Set(items.filter((item) => !except.has(item))) };
}

/** The proforma as a file to fill in. Mandatory items are answered "yes" already; the others ask. */
export function proformaText(role: TestedRole, recommendation: string, profile: string): string {
  const lines = [
    "# Protocol implementation conformance statement (PICS). Answer each `support` with yes or no. Status after",
    "# ISO/IEC 9646-7: M mandatory, R recommended, O optional. An unsupported M cannot conform.",
    `recommendation: ${JSON.stringify(recommendation)}`,
    `profile: ${profile}`,
    `entity: ${role}`,
    'implementation: ""   # name and version',
    "items:",
  ];
  for (const { item, clause, status, what } of proforma(role)) {
    const support = status === "M" ? "yes" : '"?"';
    const head = `  - { item: ${item}, clause: ${JSON.stringify(clause)}, status: ${status}, support: ${support} }`;
    lines.push(`${head.padEnd(90)} # ${what}`);
  }
  return `${lines.join("\n")}\n`;
}

interface StatedItem {
  readonly item?: unknown;
  readonly support?: unknown;
}

/**
 * Reads a filled-in proforma.
 * @throws PicsError where it is of another entity or profile, an item is missing, unknown, answered twice or not answered
 */
export async function readPics(path: string): Promise<Pics> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new PicsError(`cannot read the statement ${path} (${cause.code}); make one with x1410 conformance pics init`);
  });
  const stated = parseStatement(path, text);
  const role = testedRoles.find((one) => one === stated["entity"]);
  if (role === undefined) throw new PicsError(`${path}: entity must be one of ${testedRoles.join(", ")}`);
  const items = stated["items"];
  if (!Array.isArray(items)) throw new PicsError(`${path}: items must be a list`);
  const answers = new Map<string, boolean | undefined>();
  for (const { item, support } of items as StatedItem[]) {
    if (typeof item !== "string") throw new PicsError(`${path}: an item has no name`);
    if (answers.has(item)) throw new PicsError(`${path}: ${item} is answered twice`);
    answers.set(item, answer(support));
  }
  const open = [...answers].filter(([, supported]) => supported === undefined).map(([item]) => item);
  if (open.length > 0) throw new PicsError(`${path}: ${listed(open)}: support must be yes or no`);
  const known = proforma(role).map((one) => one.item);
  const unknown = [...answers.keys()].find((item) => !known.includes(item));
  if (unknown !== undefined) throw new PicsError(`${path}: ${unknown} is no item of the ${role}'s proforma`);
  const missing = known.filter((item) => !answers.has(item));
  if (missing.length > 0) throw new PicsError(`${path}: ${missing.join(", ")} not answered`);
  const implementation = typeof stated["implementation"] === "string" ? stated["implementation"] : "";
  return { entity: role, implementation, supported: new Set(known.filter((item) => answers.get(item) === true)) };
}

/** Undefined where it is none, as in a proforma that is still to be filled in. */
function answer(support: unknown): boolean | undefined {
  if (support === true || support === "yes") return true;
  if (support === false || support === "no") return false;
  return undefined;
}

/** The first few, and how many there are. */
function listed(items: readonly string[], shown = 5): string {
  if (items.length <= shown) return items.join(", ");
  return `${items.length} items, ${items.slice(0, shown).join(", ")} and ${items.length - shown} more`;
}

function parseStatement(path: string, text: string): Readonly<Record<string, unknown>> {
  try {
    const stated: unknown = parse(text);
    if (typeof stated === "object" && stated !== null) return stated as Record<string, unknown>;
  } catch (cause) {
    if (!(cause instanceof YAMLParseError)) throw cause;
    throw new PicsError(`${path} is not YAML: ${cause.message.split("\n")[0]}`);
  }
  throw new PicsError(`${path} must be a mapping of names to values`);
}

/** One finding of the static conformance review. */
export interface Finding {
  readonly entity: TestedRole;
  readonly item: string;
  readonly clause: string;
  readonly text: string;
}

/** The static conformance review: what the statement alone shows not to conform. */
export function staticReview(pics: Pics): readonly Finding[] {
  return proforma(pics.entity)
    .filter(({ item, status }) => status === "M" && !pics.supported.has(item))
    .map(({ item, clause, what }) => ({
      entity: pics.entity,
      item,
      clause,
      text: `mandatory, and stated as not supported: ${what}`,
    }));
}
