// The section of one message or enum.
import type { DescEnum, DescField, DescMessage } from "@bufbuild/protobuf";
import { code, link, prose, table } from "./markdown.ts";
import { comment, type Protocol } from "./protocol.ts";
import { fieldRules, messageRules, typeWords } from "./rules.ts";

export function typeSection(protocol: Protocol, desc: DescMessage | DescEnum, onPage: string, level: string): string[] {
  return [
    `${level} ${desc.name}`,
    prose(comment(desc)),
    ...(desc.kind === "enum" ? [enumTable(desc)] : messageBody(protocol, desc, onPage)),
  ];
}

export function typeLink(protocol: Protocol, desc: DescMessage | DescEnum, onPage: string): string {
  if (desc.file.proto.package !== "x1410.v1") return code(desc.typeName);
  const page = protocol.page(desc);
  return link(desc.name, page === onPage ? "" : page, desc.name);
}

/** The tag of a requirement: what X.1410 says, or what this profile chose where X.1410 is silent. */
export function tag(protocol: Protocol, origin: number): string {
  return protocol.constant("Origin", origin) === "X1410" ? code("X.1410") : code("Profile");
}

function messageBody(protocol: Protocol, desc: DescMessage, onPage: string): string[] {
  const { clause, origin, payloadType } = protocol.message(desc);
  const facts = [
    clause === "" ? [] : [`Clause ${clause}, ${tag(protocol, origin)}.`],
    payloadType === "" ? [] : [`Signed; payload type ${code(payloadType)}.`],
  ].flat();
  const rules = messageRules(desc).map((rule) => `- ${rule}`);
  const fields = desc.fields.map((field) => fieldRow(protocol, field, onPage));
  return [
    facts.join(" "),
    rules.length === 0 ? "" : ["Rules of the whole message:", ...rules].join("\n"),
    fields.length === 0 ? "No fields." : table(["#", "field", "type", "meaning", "rules"], fields),
  ];
}

function fieldRow(protocol: Protocol, field: DescField, onPage: string): string[] {
  const { secret, personal } = protocol.field(field);
  const flags = [secret ? "**secret**" : "", personal ? "**personal**" : ""].filter((flag) => flag !== "");
  return [
    String(field.number),
    code(field.name),
    typeWords(field, (desc) => typeLink(protocol, desc, onPage)),
    [prose(comment(field)), ...flags].join(" "),
    fieldRules(field).join(", "),
  ];
}

function enumTable(desc: DescEnum): string {
  return table(
    ["#", "value", "meaning"],
    desc.values.map((value) => [String(value.number), code(value.name), prose(comment(value))]),
  );
}
