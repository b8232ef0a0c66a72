// The rules of a desensitization as data: what a rule file says, and the check that it says something sensible.
import { type CountryCode, isSupportedCountry } from "libphonenumber-js";
import { DesensitizationError } from "./desensitization-error.ts";

export const FORMATS = ["csv", "jsonl"] as const;
/** CSV after RFC 4180 with a header, or JSON Lines. */
export type Format = (typeof FORMATS)[number];

export const DETECTOR_KINDS = ["card", "email", "phone", "name"] as const;
export type DetectorKind = (typeof DETECTOR_KINDS)[number];

/** Takes the whole column or member away; of a match, leaves `replacement`. */
export interface Drop {
  readonly action: "drop";
}
/** Replaces every character except the first and last few; a value too short to keep those is masked entirely. */
export interface Mask {
  readonly action: "mask";
  readonly keepFirst?: number;
  readonly keepLast?: number;
  /** One character, "*" by default. */
  readonly character?: string;
}
/** Replaces a value by a token from HMAC-SHA-256: equal values of a domain get equal tokens under one key. */
export interface Pseudonymize {
  readonly action: "pseudonymize";
  /** By default the column or path, so that columns cannot be joined unless they share a domain. */
  readonly domain?: string;
  readonly prefix?: string;
  /** Hexadecimal digits of the token, 16 to 64, 32 by default. */
  readonly length?: number;
}
/** Makes a value coarser, in exactly one manner; a value that does not fit the manner is blanked. */
export interface Generalize {
  readonly action: "generalize";
  readonly date?: "year" | "month";
  /** How dates are written: YYYY, MM and DD once each, "YYYY-MM-DD" by default; anything may follow. */
  readonly layout?: string;
  /** Numbers become half-open ranges of this width, from 0. */
  readonly width?: number;
  /** Numbers become half-open ranges between these, ascending. */
  readonly bounds?: readonly number[];
  /** Keeps this many characters from the start, as of a postal code. */
  readonly prefix?: number;
}
export type Action = Drop | Mask | Pseudonymize | Generalize;

/** Searches free text and treats the matches only. */
export type Detector = (Drop | Mask | Pseudonymize) & {
  readonly kind: DetectorKind;
  /** What `drop` leaves of a match, "[card]", "[email]", "[phone]" or "[name]" by default. */
  readonly replacement?: string;
  /** phone: the country whose national numbers are found too, ISO 3166-1 alpha-2. */
  readonly country?: CountryCode;
  /** name: the columns of the same record that hold the names to look for (CSV). */
  readonly columns?: readonly string[];
  /** name: the same for JSON Lines. */
  readonly paths?: readonly string[];
};

export type Rule = {
  /** CSV: names in the header. */
  readonly columns?: readonly string[];
  /** JSON Lines: paths such as `$.subscriber.phones[*]` or `$['full name']`. */
  readonly paths?: readonly string[];
  /** Whether it is in order that none of the input has the column or path. */
  readonly optional?: boolean;
} & (Action | { readonly detect: readonly Detector[] });

export interface DesensitizationRules {
  readonly version: 1;
  /** CSV: what separates fields, "," by default. */
  readonly delimiter?: string;
  readonly rules: readonly Rule[];
}

/** Refuses (`rule_file`) what is no rule set, naming the place, e.g. `rules[2].keepFirst`. */
export function checkRules(value: unknown): asserts value is DesensitizationRules {
  const set = members(value, "(top level)", ["version", "delimiter", "rules"]);
  if (set["version"] !== 1) wrong("version", "1 is needed");
  if (set["delimiter"] !== undefined && !/^[^"\r\n\p{L}\p{N}]$/u.test(text(set["delimiter"], "delimiter")))
    wrong("delimiter", "one character is needed, no letter, digit, quote or line break");
  const taken = new Set<string>();
  list(set["rules"], "rules").forEach((rule, index) => {
    checkRule(rule, `rules[${index}]`, taken);
  });
}

const FIELD_LISTS = ["columns", "paths"];
const FIELD_MEMBERS = [...FIELD_LISTS, "optional"];
const ACTION_MEMBERS = {
  drop: [],
  mask: ["keepFirst", "keepLast", "character"],
  pseudonymize: ["domain", "prefix", "length"],
  generalize: ["date", "layout", "width", "bounds", "prefix"],
};

function checkRule(value: unknown, at: string, taken: Set<string>): void {
  const rule = members(value, at);
  for (const [place, field] of fieldLists(rule, at)) {
    const key = `${place.includes(".columns[") ? "column" : "path"} ${field}`;
    if (taken.has(key)) wrong(place, "another rule has this already");
    taken.add(key);
  }
  if (rule["optional"] !== undefined && typeof rule["optional"] !== "boolean")
    wrong(`${at}.optional`, "true or false is needed");
  if (rule["detect"] === undefined) {
    checkAction(rule, at, FIELD_MEMBERS);
    return;
  }
  members(rule, at, [...FIELD_MEMBERS, "detect"]);
  list(rule["detect"], `${at}.detect`).forEach((detector, index) => {
    checkDetector(detector, `${at}.detect[${index}]`);
  });
}

function checkDetector(value: unknown, at: string): void {
  const detector = members(value, at);
  const kind = oneOf(DETECTOR_KINDS, detector["kind"], `${at}.kind`);
  const extra = [
    "kind",
    "replacement",
    ...(kind === "phone" ? ["country"] : []),
    ...(kind === "name" ? FIELD_LISTS : []),
  ];
  if (detector["action"] === "generalize") wrong(`${at}.action`, "a match can be dropped, masked or pseudonymized");
  checkAction(detector, at, extra);
  if (detector["replacement"] !== undefined) {
    text(detector["replacement"], `${at}.replacement`, 0);
    if (detector["action"] !== "drop") wrong(`${at}.replacement`, "only drop leaves a replacement");
  }
  if (detector["country"] !== undefined && !isSupportedCountry(text(detector["country"], `${at}.country`)))
    wrong(`${at}.country`, "an ISO 3166-1 alpha-2 code is needed");
  if (kind === "name") fieldLists(detector, at);
}

function checkAction(rule: Record<string, unknown>, at: string, further: readonly string[]): void {
  const names = Object.keys(ACTION_MEMBERS) as (keyof typeof ACTION_MEMBERS)[];
  const action = oneOf(names, rule["action"], `${at}.action`);
  members(rule, at, [...further, "action", ...ACTION_MEMBERS[action]]);
  if (action === "mask") {
    for (const name of ["keepFirst", "keepLast"]) optionalWhole(rule, name, at, 0, 1000);
    const character = rule["character"];
    if (character !== undefined && [...text(character, `${at}.character`)].length !== 1)
      wrong(`${at}.character`, "one character is needed");
  }
  if (action === "pseudonymize") {
    optionalWhole(rule, "length", at, 16, 64);
    for (const name of ["domain", "prefix"]) if (rule[name] !== undefined) text(rule[name], `${at}.${name}`);
  }
  if (action === "generalize") checkGeneralize(rule, at);
}

function checkGeneralize(rule: Record<string, unknown>, at: string): void {
  const manners = ["date", "width", "bounds", "prefix"].filter((name) => rule[name] !== undefined);
  if (manners.length !== 1) wrong(at, "exactly one of date, width, bounds, prefix is needed");
  if (rule["date"] !== undefined) oneOf(["year", "month"], rule["date"], `${at}.date`);
  if (rule["layout"] !== undefined) {
    const layout = text(rule["layout"], `${at}.layout`);
    const once = ["YYYY", "MM", "DD"].every((part) => layout.split(part).length === 2);
    if (rule["date"] === undefined || !once) wrong(`${at}.layout`, "YYYY, MM and DD once each are needed, with date");
  }
  const positive = typeof rule["width"] === "number" && Number.isFinite(rule["width"]) && rule["width"] > 0;
  if (rule["width"] !== undefined && !positive) wrong(`${at}.width`, "a number above 0 is needed");
  if (rule["bounds"] !== undefined) {
    const bounds = list(rule["bounds"], `${at}.bounds`);
    bounds.forEach((bound, index) => {
      const above = index === 0 || (bounds[index - 1] as number) < (bound as number);
      if (typeof bound !== "number" || !Number.isFinite(bound) || !above)
        wrong(`${at}.bounds[${index}]`, "a number above the one before is needed");
    });
  }
  optionalWhole(rule, "prefix", at, 1, 1000);
}

/** The entries of `columns` and `paths`, with their places. */
function fieldLists(holder: Record<string, unknown>, at: string): (readonly [string, string])[] {
  const names = FIELD_LISTS.filter((name) => holder[name] !== undefined);
  if (names.length === 0) wrong(at, "columns or paths are needed");
  return names.flatMap((name) =>
    list(holder[name], `${at}.${name}`).map((field, index) => {
      const place = `${at}.${name}[${index}]`;
      return [place, text(field, place)] as const;
    }),
  );
}

function members(value: unknown, at: string, known?: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) wrong(at, "a mapping is needed");
  const unknown = known === undefined ? undefined : Object.keys(value).find((name) => !known.includes(name));
  if (unknown !== undefined) wrong(at === "(top level)" ? unknown : `${at}.${unknown}`, "does not belong here");
  return value as Record<string, unknown>;
}

function list(value: unknown, at: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0) wrong(at, "a list with at least one entry is needed");
  return value;
}

function text(value: unknown, at: string, shortest = 1): string {
  if (typeof value !== "string" || value.length < shortest) wrong(at, "a text is needed");
  return value;
}

function oneOf<T extends string>(choices: readonly T[], value: unknown, at: string): T {
  const found = choices.find((choice) => choice === value);
  return found ?? wrong(at, `one of ${choices.join(", ")} is needed`);
}

function optionalWhole(rule: Record<string, unknown>, name: string, at: string, least: number, most: number): void {
  const value = rule[name];
  if (value === undefined) return;
  if (!Number.isInteger(value) || (value as number) < least || (value as number) > most)
    wrong(`${at}.${name}`, `a whole number from ${least} to ${most} is needed`);
}

function wrong(at: string, what: string): never {
  throw new DesensitizationError("rule_file", `${at}: ${what}`);
}
