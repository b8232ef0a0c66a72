// Prints the source of a proto2 .proto file from its descriptor. buf/validate/validate.proto comes in no npm package as text, only as a
// descriptor inside @bufbuild/protovalidate; so every protoc gets it without a download. It covers what that file uses and refuses the rest.
import {
  type DescField,
  type DescFile,
  type DescMessage,
  getExtension,
  hasExtension,
  ScalarType,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import type { DescriptorProto_ExtensionRange, FieldOptions, FileOptions } from "@bufbuild/protobuf/wkt";

export function printProto(file: DescFile): string {
  if (file.proto.syntax !== "" && file.proto.syntax !== "proto2")
    throw new Error(`${file.name}: syntax ${file.proto.syntax} is not covered`);
  const lines = ['syntax = "proto2";', "", `package ${file.proto.package};`, ""];
  for (const dependency of file.proto.dependency) lines.push(`import "${dependency}";`);
  lines.push("", ...fileOptions(file.proto.options), "");
  for (const extension of file.extensions)
    lines.push(`extend ${extension.extendee.typeName} {`, `  ${fieldLine(extension)}`, "}", "");
  for (const message of file.messages) lines.push(...printMessage(message, file), "");
  for (const enumeration of file.enums) {
    lines.push(`enum ${enumeration.name} {`);
    lines.push(...reserved(enumeration.proto.reservedRange, enumeration.proto.reservedName, 0));
    for (const value of enumeration.values) lines.push(`  ${value.name} = ${value.number};`);
    lines.push("}", "");
  }
  return `${lines.join("\n").trimEnd()}\n`;
}

function fileOptions(options: FileOptions | undefined): string[] {
  if (options === undefined) return [];
  const { goPackage, javaMultipleFiles, javaOuterClassname, javaPackage } = options;
  return [
    `option go_package = ${JSON.stringify(goPackage)};`,
    `option java_multiple_files = ${javaMultipleFiles};`,
    `option java_outer_classname = ${JSON.stringify(javaOuterClassname)};`,
    `option java_package = ${JSON.stringify(javaPackage)};`,
  ];
}

function printMessage(message: DescMessage, file: DescFile): string[] {
  if (message.nestedMessages.length + message.nestedEnums.length + message.nestedExtensions.length > 0)
    throw new Error(`${message.typeName}: nested types are not covered`);
  const lines = [`message ${message.name} {`];
  for (const member of message.members) {
    if (member.kind === "field") lines.push(`  ${fieldLine(member)}${rules(member, file)};`);
    else {
      lines.push(`  oneof ${member.name} {`);
      for (const field of member.fields) lines.push(`    ${fieldLine(field, true)}${rules(field, file)};`);
      lines.push("  }");
    }
  }
  lines.push(...reserved(message.proto.reservedRange, message.proto.reservedName, 1));
  for (const range of message.proto.extensionRange) lines.push(`  extensions ${extensionRange(range)};`);
  return [...lines, "}"];
}

/** Ranges end exclusively in messages (`past` 1) and inclusively in enums (`past` 0). */
function reserved(ranges: { start: number; end: number }[], names: string[], past: number): string[] {
  const numbers = ranges.map(({ start, end }) => (end - past === start ? `${start}` : `${start} to ${end - past}`));
  return [
    ...(numbers.length > 0 ? [`  reserved ${numbers.join(", ")};`] : []),
    ...(names.length > 0 ? [`  reserved ${names.map((name) => JSON.stringify(name)).join(", ")};`] : []),
  ];
}

function extensionRange({ start, end }: DescriptorProto_ExtensionRange): string {
  return end === 536870912 ? `${start} to max` : `${start} to ${end - 1}`;
}

function fieldLine(field: DescFile["extensions"][number] | DescField, inOneof = false): string {
  const label = inOneof
    ? ""
    : field.proto.label === 3 && field.fieldKind !== "map"
      ? "repeated "
      : field.fieldKind === "map"
        ? ""
        : "optional ";
  const end = field.kind === "extension" ? ";" : "";
  return `${label}${typeName(field)} ${field.name} = ${field.number}${end}`;
}

function typeName(field: DescFile["extensions"][number] | DescField): string {
  if (field.fieldKind === "map")
    return `map<${scalar(field.mapKey)}, ${field.mapKind === "scalar" ? scalar(field.scalar) : `.${(field.mapKind === "message" ? field.message : field.enum).typeName}`}>`;
  if (field.message !== undefined) return `.${field.message.typeName}`;
  if (field.enum !== undefined) return `.${field.enum.typeName}`;
  return scalar(field.scalar as ScalarType);
}

function scalar(type: ScalarType): string {
  return (ScalarType[type] as string).toLowerCase();
}

/** The field option `(buf.validate.predefined)`, the only one in use, with one entry for each rule: protoc 3.21 takes no list there. */
function rules(field: DescField, file: DescFile): string {
  const options: FieldOptions | undefined = field.proto.options;
  if (options === undefined) return "";
  const known = file.extensions.filter((e) => e.extendee.typeName === options.$typeName && hasExtension(options, e));
  const unknown = options.$unknown?.length ?? 0;
  if (known.length !== 1 || unknown !== 1)
    throw new Error(`${field.parent.typeName}.${field.name}: options are not covered`);
  return ` [${known
    .map((extension) => {
      const value = getExtension(options, extension) as never;
      return `(${extension.typeName}) = {${textFormat(reflect(extension.message as DescMessage, value))}}`;
    })
    .join(", ")}]`;
}

function textFormat(message: ReflectMessage): string {
  const parts: string[] = [];
  for (const field of message.sortedFields) {
    if (!message.isSet(field)) continue;
    if (field.fieldKind === "list" && field.listKind === "message")
      for (const item of message.get(field)) parts.push(`${field.name}: {${textFormat(item as ReflectMessage)}}`);
    else if (field.fieldKind === "scalar" && field.scalar === ScalarType.STRING)
      parts.push(`${field.name}: ${JSON.stringify(message.get(field))}`);
    else throw new Error(`${field.parent.typeName}.${field.name}: option value is not covered`);
  }
  return parts.join(" ");
}
