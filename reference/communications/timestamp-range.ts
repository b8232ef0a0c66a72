// Times must be times: google.protobuf.Timestamp states its range in prose (years 1 to 9999), which neither the binary encoding nor the
// rules of this interface enforce, and a time out of range has no Date.
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";

const EARLIEST_SECONDS = -62_135_596_800n;
const LATEST_SECONDS = 253_402_300_799n;
const NANOS = 1_000_000_000;

const leading = new Map<DescMessage, readonly DescField[]>();

/** The path of the first time in the message that is none, e.g. `access_permission.expiration`; undefined where all are. */
export function invalidTimestamp(schema: DescMessage, message: Message): string | undefined {
  if (schema.typeName === TimestampSchema.typeName) {
    const { seconds, nanos } = message as Message & { seconds: bigint; nanos: number };
    const valid = seconds >= EARLIEST_SECONDS && seconds <= LATEST_SECONDS && nanos >= 0 && nanos < NANOS;
    return valid ? undefined : "";
  }
  for (const field of fieldsToTimes(schema)) {
    for (const value of valuesOf(field, message)) {
      const below = field.message === undefined ? undefined : invalidTimestamp(field.message, value);
      if (below !== undefined) return below === "" ? field.name : `${field.name}.${below}`;
    }
  }
  return undefined;
}

/** The fields that are times or contain some; none for most messages, which then cost nothing. */
function fieldsToTimes(schema: DescMessage): readonly DescField[] {
  let fields = leading.get(schema);
  if (fields === undefined) {
    fields = schema.fields.filter(({ message }) => message !== undefined && holdsTime(message, new Set()));
    leading.set(schema, fields);
  }
  return fields;
}

function holdsTime(schema: DescMessage, seen: Set<DescMessage>): boolean {
  if (schema.typeName === TimestampSchema.typeName) return true;
  if (seen.has(schema)) return false;
  seen.add(schema);
  return schema.fields.some(({ message }) => message !== undefined && holdsTime(message, seen));
}

function valuesOf(field: DescField, message: Message): Message[] {
  const members = message as unknown as Record<string, unknown>;
  if (field.oneof !== undefined) {
    const chosen = members[field.oneof.localName] as { case?: string; value?: Message };
    return chosen.case === field.localName && chosen.value !== undefined ? [chosen.value] : [];
  }
  const value = members[field.localName];
  if (value === undefined) return [];
  if (field.fieldKind === "list") return value as Message[];
  if (field.fieldKind === "map") return Object.values(value as Record<string, Message>);
  return [value as Message];
}
