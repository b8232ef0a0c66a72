// The protovalidate rules of a field or message in words. A rule that no case covers ends the run: none is ever left out silently.
import { type DescField, type DescMessage, type DescOneof, getOption, hasOption, ScalarType } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import {
  type FieldRules,
  FieldRulesSchema,
  field,
  Ignore,
  type MessageRules,
  message,
  oneof,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { code } from "./markdown.ts";

export function fieldRules(desc: DescField): string[] {
  const words = desc.oneof === undefined ? [] : [`one of ${code(desc.oneof.name)}`];
  if (!hasOption(desc, field)) return words;
  return [...words, ...rulesOf(getOption(desc, field), desc)];
}

export function messageRules(desc: DescMessage): string[] {
  const rules: MessageRules = getOption(desc, message);
  if (rules.oneof.length > 0 || rules.celExpression.length > 0)
    throw new Error(`${desc.typeName}: message rules are not covered`);
  return [
    ...rules.cel.map(({ message: text, expression }) => `${text} (${code(expression)})`),
    ...desc.oneofs.filter(isRequired).map(({ name }) => `one of ${code(name)} is set`),
  ];
}

function isRequired(desc: DescOneof): boolean {
  return hasOption(desc, oneof) && getOption(desc, oneof).required;
}

function rulesOf(rules: FieldRules, desc: DescField): string[] {
  const words: string[] = [];
  if (rules.cel.length > 0)
    words.push(...rules.cel.map(({ message: text, expression }) => `${text} (${code(expression)})`));
  if (rules.celExpression.length > 0) throw new Error(`${desc.toString()}: cel_expression is not covered`);
  if (rules.required) words.push("required");
  if (rules.type.case !== undefined) {
    const reflected = reflect(FieldRulesSchema, rules);
    const member = FieldRulesSchema.fields.find(({ localName }) => localName === rules.type.case);
    if (member?.message === undefined) throw new Error(`${desc.toString()}: ${rules.type.case} is not covered`);
    words.push(...typeRules(reflected.get(member) as ReflectMessage, desc));
  }
  if (rules.ignore === Ignore.IF_ZERO_VALUE) return [`empty, or ${words.join(", ")}`];
  if (rules.ignore !== Ignore.UNSPECIFIED) throw new Error(`${desc.toString()}: ignore is not covered`);
  return words;
}

function typeRules(rules: ReflectMessage, desc: DescField): string[] {
  const set = new Map(rules.sortedFields.filter((each) => rules.isSet(each)).map((each) => [each.name, each]));
  const value = (name: string): unknown => {
    const member = set.get(name);
    set.delete(name);
    return member === undefined ? undefined : rules.get(member);
  };
  const words: string[] = [];
  const bound = (name: string, text: (limit: string) => string): void => {
    const limit = value(name);
    if (limit !== undefined) words.push(text(String(limit)));
  };
  const [unit, items] = [rules.desc.name === "BytesRules" ? "bytes" : "characters", set.has("items")];
  bound("const", (limit) => `equals ${limit}`);
  bound("len", (limit) => `${limit} ${unit}`);
  bound("min_len", (limit) => `${limit === "1" ? "not empty" : `${limit} ${unit} or more`}`);
  bound("max_len", (limit) => `at most ${limit} ${unit}`);
  bound("pattern", (limit) => code(limit));
  bound("gt", (limit) => `> ${limit}`);
  bound("gte", (limit) => `≥ ${limit}`);
  bound("lt", (limit) => `< ${limit}`);
  bound("lte", (limit) => `≤ ${limit}`);
  bound("min_items", (limit) => `${limit} or more`);
  bound("max_items", (limit) => `at most ${limit}`);
  if (value("unique") === true) words.push("no two alike");
  if (value("defined_only") === true) words.push("a value that is defined");
  const excluded = value("not_in");
  if (excluded !== undefined) words.push(`not ${excludedNames([...(excluded as Iterable<unknown>)], desc)}`);
  if (items) {
    const each = value("items") as ReflectMessage;
    words.push(`each: ${rulesOf(each.message as FieldRules, desc).join(", ")}`);
  }
  if (set.size > 0)
    throw new Error(`${desc.toString()}: ${[...set.keys()].join(", ")} of ${rules.desc.name} not covered`);
  return words;
}

function excludedNames(values: unknown[], desc: DescField): string {
  const enumeration = desc.enum;
  if (enumeration === undefined) return values.join(", ");
  return values.map((each) => code(enumeration.value[Number(each)]?.name ?? String(each))).join(", ");
}

/** The type of a field as in the IDL: `repeated string`, `map<string, bytes>`, or the message that `name` renders. */
export function typeWords(
  desc: DescField,
  name: (type: NonNullable<DescField["message"] | DescField["enum"]>) => string,
): string {
  if (desc.fieldKind === "map") throw new Error(`${desc.toString()}: maps are not covered`);
  const named = desc.message ?? desc.enum;
  const type = named === undefined ? code(scalarWord(desc)) : name(named);
  if (desc.fieldKind === "list") return `repeated ${type}`;
  return desc.proto.proto3Optional ? `optional ${type}` : type;
}

function scalarWord(desc: DescField): string {
  const type = desc.fieldKind === "list" ? (desc.listKind === "scalar" ? desc.scalar : undefined) : desc.scalar;
  if (type === undefined) throw new Error(`${desc.toString()}: no scalar`);
  return ScalarType[type].toLowerCase();
}
