// What a purpose's catalogue ids ask, in the catalogue's words.
import { CAPABILITIES, STEPS } from "../catalogue.ts";
import type { ReportedPurpose } from "./report.ts";

export interface Requirement {
  readonly id: string;
  readonly clause: string;
  readonly what: string;
}

const catalogue: ReadonlyMap<string, Requirement> = new Map([
  ...CAPABILITIES.map(({ id, clause, what }) => [id, { id, clause, what }] as const),
  ...STEPS.map(({ id, clause, arrow, what }) => [id, { id, clause, what: `${arrow}: ${what}` }] as const),
]);

/** Its capabilities; where it has none, its steps. A replayed procedure has all of its figure: those are reported one by one. */
export function requirementsOf({
  capabilities,
  steps,
  procedure,
}: Pick<ReportedPurpose, "capabilities" | "steps" | "procedure">): readonly Requirement[] {
  const ids = capabilities.length > 0 ? capabilities : procedure.length > 0 ? [] : steps;
  return ids.flatMap((id) => catalogue.get(id) ?? []);
}
