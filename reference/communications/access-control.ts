// Authorization for communications (clause 7.2.5, AAC3): whitelist, blacklist, and an access control list per method.
import { type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { type EntityKind, parseIdentity } from "../../certs/identity.ts";
import { Caller, method as methodRequirement } from "../../gen/x1410/v1/annotations_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { ArrivingCall, Guard } from "./guard.ts";
import type { Peer } from "./peer.ts";
import { refusal } from "./refusal.ts";

/** Whom an entry means: by identity, exact or ending in `*` for every identity that begins so, or by certificate fingerprint. */
export type AccessEntry = { readonly identity: string } | { readonly fingerprint: string };

/** Immutable: a change is a new policy, handed to `replace`. */
export interface AccessPolicy {
  /** Whitelist: where given, nobody else gets in. */
  readonly allow?: readonly AccessEntry[];
  /** Blacklist: comes first. */
  readonly deny?: readonly AccessEntry[];
  /**
   * Callers by method, `package.Service/Method` or `package.Service/*`. Narrows what the interface itself says about a method's callers,
   * and never widens it.
   */
  readonly methods?: Readonly<Record<string, readonly AccessEntry[]>>;
}

const kindOf: Readonly<Record<EntityKind | "user", Caller | undefined>> = {
  user: Caller.USER,
  operator: Caller.OPERATOR,
  dssm: Caller.DSSM,
  kss: Caller.KSS,
  dss: Caller.DSS,
  ledger: Caller.LEDGER_NODE,
  ca: undefined,
};

export class AccessControl implements Guard {
  #rules: CompiledPolicy;
  readonly #listeners = new Set<() => void>();

  constructor(policy: AccessPolicy = {}) {
    this.#rules = compile(policy);
  }

  /** Takes effect with the next call, on open connections as well, and on the calls under way. */
  replace(policy: AccessPolicy): void {
    this.#rules = compile(policy);
    for (const listener of this.#listeners) listener();
  }

  readonly onChange = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  readonly admit = ({ method, peer }: ArrivingCall): undefined => {
    const { deny, allow, methods } = this.#rules;
    if (deny.has(peer)) throw refusal(ErrorReason.DENY_LISTED);
    if (allow !== undefined && !allow.has(peer)) throw refusal(ErrorReason.NOT_ALLOW_LISTED);
    if (!isMeant(method, peer)) {
      const anonymous = peer.transport === "anonymous";
      throw refusal(anonymous ? ErrorReason.CERTIFICATE_REQUIRED : ErrorReason.CALLER_NOT_ALLOWED, method.name);
    }
    const service = method.parent.typeName;
    const rule = methods.get(`${service}/${method.name}`) ?? methods.get(`${service}/*`);
    if (rule !== undefined && !rule.has(peer)) throw refusal(ErrorReason.CALLER_NOT_ALLOWED, method.name);
  };
}

/** Whether the peer's kind is among the callers that the method's descriptor states; one that states none is open to whoever got in. */
function isMeant(method: DescMethod, peer: Peer): boolean {
  const callers = callersOf(method);
  if (callers === undefined || callers.has(Caller.ENROLLEE)) return true;
  const role = parseIdentity(peer.identity)?.role;
  const kind = role === undefined ? undefined : kindOf[role];
  return kind !== undefined && callers.has(kind);
}

const statedCallers = new WeakMap<DescMethod, ReadonlySet<Caller> | "any">();

function callersOf(method: DescMethod): ReadonlySet<Caller> | undefined {
  let stated = statedCallers.get(method);
  if (stated === undefined) {
    stated = hasOption(method, methodRequirement) ? new Set(getOption(method, methodRequirement).callers) : "any";
    statedCallers.set(method, stated);
  }
  return stated === "any" ? undefined : stated;
}

interface CompiledPolicy {
  readonly allow: EntryList | undefined;
  readonly deny: EntryList;
  readonly methods: ReadonlyMap<string, EntryList>;
}

function compile({ allow, deny = [], methods = {} }: AccessPolicy): CompiledPolicy {
  return {
    allow: allow === undefined ? undefined : new EntryList(allow),
    deny: new EntryList(deny),
    methods: new Map(Object.entries(methods).map(([name, entries]) => [name, new EntryList(entries)])),
  };
}

class EntryList {
  readonly #exact = new Set<string>();
  readonly #prefixes: string[] = [];
  readonly #fingerprints = new Set<string>();

  constructor(entries: readonly AccessEntry[]) {
    for (const entry of entries) {
      if ("fingerprint" in entry) this.#fingerprints.add(entry.fingerprint.replaceAll(":", "").toLowerCase());
      else if (entry.identity.endsWith("*")) this.#prefixes.push(entry.identity.slice(0, -1));
      else this.#exact.add(entry.identity);
    }
  }

  /** A peer without identity is on no list. */
  has({ identity, fingerprint }: Peer): boolean {
    if (fingerprint !== "" && this.#fingerprints.has(fingerprint)) return true;
    if (identity === "") return false;
    return this.#exact.has(identity) || this.#prefixes.some((prefix) => identity.startsWith(prefix));
  }
}
