// Rules made executable: what happens to one value, and the count of it.
import { createHmac, type KeyObject } from "node:crypto";
import { cardNumbers, emailAddresses, namesInText, phoneNumbers, type Span } from "./detection.ts";
import { generalization } from "./generalization.ts";
import type { Action, Detector, DetectorKind, Mask, Pseudonymize, Rule } from "./rules.ts";

/** How often what was done to one column or path by one rule; never a value. */
export interface FieldReport {
  /** Place of the rule in the rule set, from 0. */
  readonly rule: number;
  /** Column or path. */
  readonly field: string;
  readonly action: Action["action"] | "detect";
  /** Values that the rule saw, empty ones and null apart. */
  values: number;
  /** Values that were dropped or are other than before. */
  changed: number;
  /** Values blanked because they did not fit the rule, e.g. no date where one was to be generalized; part of `changed`. */
  blanked: number;
  /** Matches in free text, by detector. */
  readonly matches: Partial<Record<DetectorKind, number>>;
}

/** One rule on one column or path. */
export interface Treatment {
  readonly drops: boolean;
  /** Fields of the same record that hold the names to look for. */
  readonly nameFields: readonly string[];
  readonly report: FieldReport;
  /** The new value; undefined blanks it. `names` are the values of `nameFields`. */
  apply(value: string, names: readonly string[]): string | undefined;
}

/** `field` is where `rule`, the one at `index`, is applied; `nameFields` is where its name detectors take names from. */
export function treatment(
  rule: Rule,
  index: number,
  field: string,
  nameFields: readonly string[],
  key: KeyObject,
): Treatment {
  const detects = "detect" in rule;
  const action = detects ? "detect" : rule.action;
  const report: FieldReport = { rule: index, field, action, values: 0, changed: 0, blanked: 0, matches: {} };
  const run = detects ? searching(rule.detect, field, key, report) : replacing(rule, field, key);
  return {
    drops: action === "drop",
    nameFields,
    report,
    apply(value, names) {
      if (value === "") return value;
      report.values += 1;
      const result = run(value, names);
      if (result !== value) report.changed += 1;
      if (result === undefined && action !== "drop") report.blanked += 1;
      return result;
    },
  };
}

type Run = (value: string, names: readonly string[]) => string | undefined;

function replacing(rule: Action, field: string, key: KeyObject): Run {
  switch (rule.action) {
    case "drop":
      return () => undefined;
    case "mask":
      return masking(rule);
    case "pseudonymize":
      return pseudonymizing(rule, field, key);
    case "generalize":
      return generalization(rule);
  }
}

function masking({ keepFirst = 0, keepLast = 0, character = "*" }: Mask): (value: string) => string {
  return (value) => {
    const characters = [...value];
    const hidden = characters.length - keepFirst - keepLast;
    if (hidden <= 0) return character.repeat(characters.length);
    const end = characters.length - keepLast;
    return characters.slice(0, keepFirst).join("") + character.repeat(hidden) + characters.slice(end).join("");
  };
}

function pseudonymizing(rule: Pseudonymize, field: string, key: KeyObject): (value: string) => string {
  const { domain = field, prefix = "", length = 32 } = rule;
  // The domain's length goes first, so that no domain and value run into another pair's.
  const start = Buffer.from(`${Buffer.byteLength(domain)}:${domain}`);
  return (value) => prefix + createHmac("sha256", key).update(start).update(value).digest("hex").slice(0, length);
}

function searching(detectors: readonly Detector[], field: string, key: KeyObject, report: FieldReport): Run {
  const searches = detectors.map((detector) => {
    report.matches[detector.kind] = 0;
    const replace =
      detector.action === "drop"
        ? () => detector.replacement ?? `[${detector.kind}]`
        : (replacing(detector, field, key) as (match: string) => string);
    return { kind: detector.kind, find: finder(detector), replace };
  });
  return (value, names) => {
    const found = searches.flatMap((search, rank) => search.find(value, names).map((span) => ({ ...span, rank })));
    if (found.length === 0) return value;
    let result = "";
    let copied = 0;
    for (const { start, end, rank } of united(found)) {
      const search = searches[rank];
      if (search === undefined) continue;
      report.matches[search.kind] = (report.matches[search.kind] ?? 0) + 1;
      result += value.slice(copied, start) + search.replace(value.slice(start, end));
      copied = end;
    }
    return result + value.slice(copied);
  };
}

function finder(detector: Detector): (text: string, names: readonly string[]) => Span[] {
  switch (detector.kind) {
    case "card":
      return cardNumbers;
    case "email":
      return emailAddresses;
    case "phone":
      return (text) => phoneNumbers(text, detector.country);
    case "name":
      return namesInText;
  }
}

type Found = Span & { readonly rank: number };

/** Overlapping finds become one, treated by the detector listed first: nothing of either may stay. */
function united(found: Found[]): Found[] {
  const result: Found[] = [];
  for (const span of found.toSorted((a, b) => a.start - b.start)) {
    const last = result.at(-1);
    if (last === undefined || span.start >= last.end) result.push(span);
    else {
      const merged = { start: last.start, end: Math.max(last.end, span.end), rank: Math.min(last.rank, span.rank) };
      result[result.length - 1] = merged;
    }
  }
  return result;
}
