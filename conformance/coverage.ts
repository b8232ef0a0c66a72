// Coverage: every step and every capability of the catalogue, every method with its three behaviours, every feature of the entities, and
// every attack, with the purposes that show it, or with the reason why nothing outside an implementation can.
import { attacks } from "./attacks.ts";
import { CAPABILITIES, STEPS } from "./catalogue.ts";
import { answeredWithin, behaviourCells } from "./method-behaviour.ts";
import { proforma } from "./pics.ts";
import type { Purpose } from "./purposes/purpose.ts";
import { globMatches, itemsOf } from "./selection.ts";
import { testedRoles } from "./target.ts";

/** Ids of the catalogue and methods that no interface shows, each with its reason. */
// biome-ignore format: a table
export const unobservable: ReadonlyMap<string, string> = new Map([
  ["U1", "how a user came by its certificate is between user and authority; that servers ask for one is AAC1"],
  ["U2", "where a user's private key lies shows at no interface"],
  ["U6", "that a user has a symmetric cipher shows only in what it encrypts (P3) and decrypts (C8)"],
  ...answeredWithin,
]);

/** Features that some entity has in its proforma, each once. */
const features = [
  ...new Map(
    testedRoles.flatMap(proforma).flatMap((one) => (one.kind === "feature" ? [[one.item, one] as const] : [])),
  ).values(),
];

export interface CoverageRow {
  readonly item: string;
  readonly kind: "step" | "capability" | "method" | "feature" | "attack";
  readonly clause: string;
  readonly what: string;
  /** Ids of the purposes that show it. */
  readonly purposes: readonly string[];
  /** Why nothing can show it; "" where something can. */
  readonly reason: string;
}

/** Steps in the order of the figures, then capabilities, methods, features, attacks. */
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
    ...behaviourCells(purposes).map(
      ({ method, clause, component, behaviour, purposes: shownBy, reason }): CoverageRow => ({
        item: method,
        kind: "method",
        clause,
        what: `${component}, ${behaviour} behaviour`,
        purposes: shownBy,
        reason,
      }),
    ),
    ...features.map(({ item, clause, what }) => row("feature", item, clause, what)),
    ...attacks.map(
      ({ id, what, shownBy, reason }): CoverageRow => ({
        item: id,
        kind: "attack",
        clause: "7.2.5",
        what,
        purposes: purposes.filter((one) => shownBy.some((glob) => globMatches(glob, one.id))).map((one) => one.id),
        reason,
      }),
    ),
  ];
}

/** Rows that no purpose shows, each with the reason. */
export function reasoned(purposes: readonly Purpose[]): readonly CoverageRow[] {
  return coverage(purposes).filter((row) => row.purposes.length === 0 && row.reason !== "");
}

/** Rows with neither a purpose nor a reason. */
export function gaps(purposes: readonly Purpose[]): readonly CoverageRow[] {
  return coverage(purposes).filter((row) => row.purposes.length === 0 && row.reason === "");
}
