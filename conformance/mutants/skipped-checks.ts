// For each method, or methods that one purpose concerns, and each reason for which it refuses: the reference that does not refuse for it.
// What is refused before a handler has its turn, for its caller or for a value that breaks a rule, is let through as well.
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonName } from "../../reference/communications/refusal.ts";
import { servedBy } from "../protocol.ts";
import type { Purpose, PurposeId } from "../purposes/purpose.ts";
import { purposes } from "../suite.ts";
import { type EntityRole, entityRoles } from "../target.ts";
import { acceptingAll } from "./accepting.ts";
import type { Mutant, Skipped } from "./mutant.ts";

/** Decided by the connection, below methods: such mutants stand in whole (communications.ts). */
const ofConnections = new Set<ErrorReason>([
  ErrorReason.CERTIFICATE_REVOKED,
  ErrorReason.CERTIFICATE_EXPIRED,
  ErrorReason.IDENTITY_INVALID,
]);

const beforeHandlers: Readonly<Partial<Record<ErrorReason, Skipped["what"]>>> = {
  [ErrorReason.CALLER_NOT_ALLOWED]: "callers",
  [ErrorReason.REQUEST_INVALID]: "rules",
};

interface Check {
  readonly role: EntityRole;
  readonly methods: readonly string[];
  readonly reason: ErrorReason;
  readonly door: string;
  readonly purposes: Purpose[];
}

function checks(): readonly Check[] {
  const byKey = new Map<string, Check>();
  for (const purpose of purposes) {
    const { entity, methods, expected, requires } = purpose;
    const role = entityRoles.find((one) => one.toUpperCase() === entity);
    if (role === undefined || typeof expected === "string" || methods.length === 0) continue;
    const { reason } = expected;
    if (reason === undefined || ofConnections.has(reason)) continue;
    const door = requires.includes("EXPOSURE") ? `${role}-2` : role;
    const key = `${door} ${methods.join("+")} ${reason}`;
    const check = byKey.get(key) ?? { role, methods, reason, door, purposes: [] };
    check.purposes.push(purpose);
    byKey.set(key, check);
  }
  return [...byKey.values()];
}

function mutantOf({ role, methods, reason, door, purposes: list }: Check): Mutant {
  const concerned = servedBy[role]
    .flatMap((service) => service.methods)
    .filter((method) => methods.includes(`${method.parent.name}/${method.name}`));
  const names = methods.map((name) => name.split("/")[1] ?? "");
  const what = beforeHandlers[reason];
  return {
    id: kebab(`${door}-${names.join("-or-")}-ignores-${reasonName(reason).toLowerCase()}`),
    clause: list[0]?.clause ?? "",
    breaks: `${names.join(", ")} of the ${role} answers what is to be refused as ${reasonName(reason)}${door === role ? "" : " at the exposure port"}`,
    foundBy: list.map(({ id }) => id as PurposeId) as [PurposeId, ...PurposeId[]],
    alterations: concerned.map((method) => acceptingAll(method, reason)),
    ...(what && { skips: { what, door, methods: concerned } }),
  };
}

function kebab(text: string): string {
  return text
    .replace(/(?<=[a-z])(?=[A-Z])/g, "-")
    .replaceAll("_", "-")
    .toLowerCase();
}

export const skippedCheckMutants: readonly Mutant[] = checks().map(mutantOf);
