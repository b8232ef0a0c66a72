import type { KeyObject } from "node:crypto";
import { DesensitizationError } from "./desensitization-error.ts";
import type { DesensitizationRules, Format } from "./rules.ts";
import { type FieldReport, type Treatment, treatment } from "./treatment.ts";

/** What to do where, for one run. */
export interface Plan {
  readonly targets: readonly Target[];
  /** Records treated so far. */
  records: number;
}

export interface Target {
  /** Column or path. */
  readonly field: string;
  readonly optional: boolean;
  readonly treatment: Treatment;
}

/** Counts of what a run did, never a value. */
export interface DesensitizationReport {
  readonly format: Format;
  /** Records, the header apart. */
  readonly records: number;
  /** One for each rule and each of its columns or paths, in the order of the rules. */
  readonly fields: readonly FieldReport[];
}

/** Refuses (`rule_file`) a rule that says nothing for this format: silently leaving it out would let its data through. */
export function planOf(rules: DesensitizationRules, format: Format, key: KeyObject): Plan {
  const member = format === "csv" ? "columns" : "paths";
  const targets = rules.rules.flatMap((rule, index) => {
    const fields = rule[member] ?? wrong(`rules[${index}]: ${member} are needed for ${format}`);
    const nameFields = ("detect" in rule ? rule.detect : []).flatMap((detector, place) => {
      if (detector.kind !== "name") return [];
      const at = `rules[${index}].detect[${place}]`;
      return detector[member] ?? wrong(`${at}: ${member} are needed for ${format}`);
    });
    return fields.map((field) => ({
      field,
      optional: rule.optional ?? false,
      treatment: treatment(rule, index, field, [...new Set(nameFields)], key),
    }));
  });
  return { targets, records: 0 };
}

function wrong(what: string): never {
  throw new DesensitizationError("rule_file", what);
}

export function reportOf(plan: Plan, format: Format): DesensitizationReport {
  return { format, records: plan.records, fields: plan.targets.map(({ treatment: { report } }) => report) };
}
