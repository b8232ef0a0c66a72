// The filters that commands over the suite share.
import { type Command, InvalidArgumentError, Option } from "commander";
import { type PurposeKind, purposeEntities, purposeKinds } from "../purposes/purpose-kind.ts";
import type { Filters } from "../selection.ts";

export interface FilterOptions {
  readonly id?: string[];
  readonly entity?: string[];
  readonly clause?: string[];
  readonly step?: string[];
  readonly status?: ("M" | "R" | "O")[];
  readonly kind?: PurposeKind[];
}

export const filterNames: (keyof FilterOptions)[] = ["id", "entity", "clause", "step", "status", "kind"];

const entityNames = [...purposeEntities, ...purposeEntities.map((name) => name.toLowerCase())];

export function withFilters(command: Command): Command {
  return command
    .option("--id <glob...>", "ids, * for any run of characters, e.g. 'TP/KSS/TV/*'")
    .addOption(new Option("--entity <name...>", "whose purposes").choices(entityNames))
    .option("--clause <clause...>", "clauses of X.1410")
    .option("--step <id...>", "steps of the procedures, e.g. F3.2.2")
    .addOption(new Option("--status <status...>", "mandatory, recommended, optional").choices(["M", "R", "O"]))
    .addOption(new Option("--kind <kind...>", "capability, valid, invalid, inopportune").choices(purposeKinds));
}

export function filtersOf({ id, entity, clause, step, status, kind }: FilterOptions): Filters {
  return {
    ...(id && { ids: id }),
    ...(entity && { entities: entity }),
    ...(clause && { clauses: clause }),
    ...(step && { steps: step }),
    ...(status && { statuses: status }),
    ...(kind && { kinds: kind }),
  };
}

/** A whole number of at least `least`. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < least) throw new InvalidArgumentError(`a whole number from ${least} on.`);
    return value;
  };
}
