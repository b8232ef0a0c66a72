// Access lists as configuration (clause 7.2.5, AAC3): one file of a deployment, for all of its entities and for each one.
import type { DescService } from "@bufbuild/protobuf";
import { parse, YAMLParseError } from "yaml";
import { readIfPresent } from "../../certs/durable-file.ts";
import { type EntityKind, parseIdentity } from "../../certs/identity.ts";
import { AccessControl, type AccessEntry, type AccessPolicy } from "./access-control.ts";
import type { Log } from "./log.ts";
import { watchFile } from "./watched-file.ts";

/** Access lists that cannot be used as written; the message names the file and the place in it. */
export class AccessFileError extends Error {
  override readonly name = "AccessFileError";
}

export interface AccessFileOptions {
  readonly path: string;
  /** Whose lists to take: those for all, and those under this kind. */
  readonly kind: EntityKind;
  readonly served: Served;
  readonly log: Log;
}

/** What the entities of each kind serve: whoever reads the file finds a misspelt method, whichever entity it is meant for. */
export type Served = Readonly<Partial<Record<EntityKind, readonly DescService[]>>>;

export interface AccessFile {
  readonly accessControl: AccessControl;
  close(): void;
}

const GENERAL = ["allow", "deny", "entities"] as const;
const OF_ENTITY = ["allow", "deny", "methods"] as const;

/**
 * Reads the file and follows its changes, which take effect at once, on open connections as well. While it is malformed or gone the former
 * lists hold, at every entity: an empty file lifts them.
 * @throws AccessFileError where it is malformed at the start; a file that is not there has no lists
 */
export function openAccessFile({ path, kind, served, log }: AccessFileOptions): AccessFile {
  const read = (): AccessPolicy | undefined => {
    const text = readIfPresent(path)?.toString();
    if (text === undefined) return undefined;
    try {
      return parseAccessFile(text, kind, served);
    } catch (cause) {
      throw cause instanceof AccessFileError ? new AccessFileError(`${path}: ${cause.message}`) : cause;
    }
  };
  const accessControl = new AccessControl(read());
  const watcher = watchFile(
    path,
    () => {
      const policy = read();
      if (policy === undefined) throw new AccessFileError(`${path} is gone; an empty file lifts the lists`);
      accessControl.replace(policy);
      log.info("access lists replaced", { file: path });
    },
    log,
  );
  return { accessControl, close: () => watcher.close() };
}

/**
 * The lists that concern entities of one kind: deny lists add up, an allow list under the kind takes the place of the one for all. An allow
 * list has to name the other entities as well, wherever they call this one.
 * Every section is read, so that a mistake in any of them makes the file invalid for every entity.
 * @throws AccessFileError
 */
export function parseAccessFile(text: string, kind: EntityKind, served: Served): AccessPolicy {
  const root = mapping(parsed(text) ?? {}, "the file");
  onlyKeys(root, GENERAL, "");
  const { allow, deny, entities } = root;
  const kinds = mapping(entities ?? {}, "entities");
  onlyKeys(kinds, Object.keys(served), "entities");
  const general = policyOf({ allow, deny }, "");
  const sections = new Map(Object.entries(kinds).map(([name, lists]) => [name, policyOf(lists, `entities.${name}`)]));
  for (const [name, { methods = {} }] of sections) onlyServed(Object.keys(methods), name, served[name as EntityKind]);
  const own = sections.get(kind) ?? {};
  const allowed = own.allow ?? general.allow;
  return {
    deny: [...(general.deny ?? []), ...(own.deny ?? [])],
    methods: own.methods ?? {},
    ...(allowed === undefined ? {} : { allow: allowed }),
  };
}

function parsed(text: string): unknown {
  try {
    return parse(text, { maxAliasCount: 100 });
  } catch (cause) {
    if (!(cause instanceof YAMLParseError)) throw cause;
    throw new AccessFileError(cause.message.split("\n")[0] ?? "it is not YAML");
  }
}

function policyOf(value: unknown, place: string): AccessPolicy {
  const lists = mapping(value ?? {}, place);
  onlyKeys(lists, OF_ENTITY, place);
  const { allow, deny, methods } = lists;
  const at = (name: string) => (place === "" ? name : `${place}.${name}`);
  return {
    ...(allow === undefined ? {} : { allow: entries(allow, at("allow")) }),
    ...(deny === undefined ? {} : { deny: entries(deny, at("deny")) }),
    ...(methods === undefined ? {} : { methods: methodLists(methods, at("methods")) }),
  };
}

function methodLists(value: unknown, place: string): Record<string, readonly AccessEntry[]> {
  return Object.fromEntries(
    Object.entries(mapping(value, place)).map(([name, list]) => {
      if (!/^[A-Za-z0-9_.]+\/([A-Za-z0-9_]+|\*)$/.test(name))
        throw new AccessFileError(`${place}: ${name} is not of the form package.Service/Method or package.Service/*`);
      return [name, entries(list, `${place}.${name}`)];
    }),
  );
}

/** Identities, `*` at the end for all that begin so, and `sha256:` with the fingerprint of a certificate. */
function entries(value: unknown, place: string): AccessEntry[] {
  if (!Array.isArray(value)) throw new AccessFileError(`${place} is no list`);
  return value.map((entry: unknown, index) => {
    const text = typeof entry === "string" ? entry : "";
    const fingerprint = /^sha256:((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})$/i.exec(text)?.[1];
    if (fingerprint !== undefined) return { fingerprint };
    if (parseIdentity(text) !== undefined || /^urn:x1410:[a-z0-9:.-]*\*$/.test(text)) return { identity: text };
    throw new AccessFileError(`${place}[${index}] is neither an identity, urn:x1410:…, nor sha256: and a fingerprint`);
  });
}

function mapping(value: unknown, place: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new AccessFileError(`${place} is no mapping`);
  return value as Record<string, unknown>;
}

function onlyKeys(value: Record<string, unknown>, allowed: readonly string[], place: string): void {
  const stranger = Object.keys(value).find((key) => !allowed.includes(key));
  if (stranger !== undefined)
    throw new AccessFileError(
      `${place === "" ? "" : `${place}: `}${stranger} is unknown; there are ${allowed.join(", ")}`,
    );
}

function onlyServed(methods: readonly string[], kind: string, services: readonly DescService[] = []): void {
  const known = new Set(services.flatMap(methodNames));
  // Health and reflection (grpc.*) come with every server.
  const stranger = methods.find((name) => !known.has(name) && !name.startsWith("grpc."));
  if (stranger !== undefined)
    throw new AccessFileError(`entities.${kind}.methods: ${stranger} is no method of this entity`);
}

function methodNames(service: DescService): string[] {
  return [`${service.typeName}/*`, ...service.methods.map(({ name }) => `${service.typeName}/${name}`)];
}
