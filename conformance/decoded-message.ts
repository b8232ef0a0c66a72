// Messages as a report shows them: decoded, signed payloads opened, secrets taken out by the descriptors' option, long bytes cut.
import { createHash } from "node:crypto";
import {
  type DescField,
  type DescMessage,
  fromBinary,
  getOption,
  hasOption,
  type JsonValue,
  type Message,
  toJson,
} from "@bufbuild/protobuf";
import { type ReflectList, type ReflectMap, type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { field as fieldRequirement, message as messageRequirement } from "../gen/x1410/v1/annotations_pb.ts";
import { file_x1410_v1_data_sharing } from "../gen/x1410/v1/data_sharing_pb.ts";
import { SignedEnvelopeSchema } from "../gen/x1410/v1/envelope_pb.ts";
import { file_x1410_v1_ledger } from "../gen/x1410/v1/ledger_pb.ts";
import { file_x1410_v1_user_authentication } from "../gen/x1410/v1/user_authentication_pb.ts";

const LONGEST_BYTES = 64;

const signedMessages = new Map(
  [file_x1410_v1_data_sharing, file_x1410_v1_ledger, file_x1410_v1_user_authentication]
    .flatMap(({ messages }) => messages)
    .filter((schema) => hasOption(schema, messageRequirement))
    .map((schema) => [getOption(schema, messageRequirement).payloadType, schema] as const)
    .filter(([payloadType]) => payloadType !== ""),
);

/** The message as JSON for reading; it cannot be parsed back. */
export function decoded(schema: DescMessage, message: Message): JsonValue {
  return shown(reflect(schema, message));
}

function shown(message: ReflectMessage): JsonValue {
  if (message.desc.typeName === SignedEnvelopeSchema.typeName) return envelope(message);
  // Well-known types have a JSON form of their own.
  if (message.desc.typeName.startsWith("google.protobuf.")) return toJson(message.desc, message.message);
  const fields = message.sortedFields.filter((field) => message.isSet(field));
  return Object.fromEntries(fields.map((field) => [field.name, fieldShown(message, field)]));
}

function fieldShown(message: ReflectMessage, field: DescField): JsonValue {
  if (isSecret(field)) return "[redacted]";
  const value = message.get(field);
  if (field.fieldKind === "list") return [...(value as ReflectList)].map((item) => scalar(field, item));
  if (field.fieldKind === "map")
    return Object.fromEntries([...(value as ReflectMap)].map(([key, item]) => [String(key), scalar(field, item)]));
  return scalar(field, value);
}

/** Reading an option parses it: once for each field. */
const secrets = new Map<DescField, boolean>();

function isSecret(field: DescField): boolean {
  const secret = secrets.get(field) ?? getOption(field, fieldRequirement).secret;
  secrets.set(field, secret);
  return secret;
}

function scalar(field: DescField, value: unknown): JsonValue {
  if (value instanceof Uint8Array) return bytes(value);
  if (typeof value === "bigint") return value.toString();
  if (field.enum !== undefined && typeof value === "number") return field.enum.value[value]?.name ?? value;
  if (typeof value === "object" && value !== null && "desc" in value) return shown(value as ReflectMessage);
  return value as JsonValue;
}

function bytes(value: Uint8Array): string {
  if (value.length <= LONGEST_BYTES) return Buffer.from(value).toString("hex");
  return `${value.length} bytes, SHA-256 ${createHash("sha256").update(value).digest("hex")}`;
}

/** A signed payload is what reads best; its certificates are the target's own and long. */
function envelope(message: ReflectMessage): JsonValue {
  const { payload, payloadType, signatures } = message.message as ReturnType<typeof asEnvelope>;
  const schema = signedMessages.get(payloadType);
  return {
    payload_type: payloadType,
    payload: schema === undefined ? bytes(payload) : (opened(schema, payload) ?? bytes(payload)),
    signatures: signatures.map(({ algorithm, value }) => ({ algorithm, value: bytes(value) })),
  };
}

function asEnvelope(message: Message) {
  return message as ReturnType<typeof fromBinary<typeof SignedEnvelopeSchema>>;
}

function opened(schema: DescMessage, payload: Uint8Array): JsonValue | undefined {
  try {
    return decoded(schema, fromBinary(schema, payload));
  } catch {
    // A purpose may send what does not parse.
    return undefined;
  }
}
