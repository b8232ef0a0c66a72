// Coverage: every step and every capability of the catalogue, and every method of the entities, with the purposes that show it, or with
// the reason why nothing outside an implementation can.
import { CAPABILITIES, STEPS } from "./catalogue.ts";
import { methodsOf } from "./protocol.ts";
import type { Purpose } from "./purposes/purpose.ts";
import { itemsOf } from "./selection.ts";
import { entityRoles } from "./target.ts";

/** Ids of the catalogue that no interface shows, each with its reason. */
// biome-ignore format: a table
export const unobservable: ReadonlyMap<string, string> = new Map([
  ["U1", "how a user came by its certificate is between user and authority; that servers ask for one is AAC1"],
  ["U2", "where a user's private key lies shows at no interface"],
  ["U6", "that a user has a symmetric cipher shows only in what it encrypts (P3) and decrypts (C8)"],
]);

export interface CoverageRow {
  readonly item: string;
  readonly kind: "step" | "capability" | "method";
  readonly clause: string;
  readonly what: string;
  /** Ids of the purposes that show it. */
  readonly purposes: readonly string[];
  /** Why nothing can show it; "" where something can. */
  readonly reason: string;
}

/** Steps in the order of the figures, then capabilities, then methods. */
export function coverage(purposes: readonly Purpose[]): readonly CoverageRow[] {
  const byItem = new Map<string, string[]>();
  for (const purpose of purposes)
    for (const item of new Set(itemsOf(purpose))) byItem.set(item, [...(byItem.get(item) ?? []), purpose.id]);
  const row = (kind: CoverageRow["kind"], item: string, clause: string, what: string): CoverageRow => ({
    item,
    kind,
    clause,
    what,
    purposes: byItem.get(item) ?? [],
    reason: unobservable.get(item) ?? "",
  });
  return [
    ...STEPS.map(({ id, clause, what, arrow }) => row("step", id, clause, `${arrow}: ${what}`)),
    ...CAPABILITIES.map(({ id, clause, what }) => row("capability", id, clause, what)),
    ...entityRoles.flatMap(methodsOf).map(({ name, clause, component }) => row("method", name, clause, component)),
  ];
}

/** Rows with neither a purpose nor a reason. */
export function gaps(purposes: readonly Purpose[]): readonly CoverageRow[] {
  return coverage(purposes).filter((row) => row.purposes.length === 0 && row.reason === "");
}
