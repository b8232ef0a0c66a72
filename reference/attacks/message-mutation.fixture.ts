// Random and mutated request bodies, the same ones for the same seed.
import {
  create,
  type DescField,
  type DescMessage,
  getOption,
  hasOption,
  type Message,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { field as fieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

/** A generator of numbers that repeats itself (mulberry32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0, below `limit`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  one<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

/** Values of a running network, so that a request reaches past the rules of its fields. */
export interface Corpus {
  readonly texts: readonly string[];
  readonly bytes: readonly Uint8Array<ArrayBuffer>[];
  /** Whole messages that were valid once, by type. */
  readonly messages: ReadonlyMap<string, readonly Message[]>;
}

const hostileTexts = ["", "../x", "\u0000", "%2f", "a".repeat(5_000), "\u{1f600}", "__proto__", "' OR 1=1 --", "{{x}}"];

/** A message of this type with every field filled, mostly as its rules want it. */
export function plausible(schema: DescMessage, corpus: Corpus, chance: Chance, depth = 0): Message {
  const known = corpus.messages.get(schema.typeName);
  if (known !== undefined && known.length > 0 && chance.below(3) > 0) return chance.one(known);
  const message = reflect(schema, create(schema));
  const chosen = new Map(schema.oneofs.map((oneof) => [oneof, chance.one(oneof.fields)]));
  for (const field of schema.fields) {
    if (field.oneof !== undefined && chosen.get(field.oneof) !== field) continue;
    if (chance.below(12) === 0 || (depth > 4 && field.fieldKind === "message")) continue;
    if (field.fieldKind === "map") continue;
    if (field.fieldKind === "list") {
      for (let count = chance.below(3); count > 0; count--) {
        const value =
          field.listKind === "message"
            ? reflect(field.message, plausible(field.message, corpus, chance, depth + 1))
            : scalarOf(field, field.listKind === "scalar" ? field.scalar : undefined, corpus, chance);
        message.get(field).add(value as never);
      }
    } else if (field.fieldKind === "message") {
      message.set(field, reflect(field.message, plausible(field.message, corpus, chance, depth + 1)));
    } else message.set(field, scalarOf(field, field.fieldKind === "scalar" ? field.scalar : undefined, corpus, chance));
  }
  return message.message;
}

/** @param scalar undefined for an enum */
function scalarOf(field: DescField, scalar: ScalarType | undefined, corpus: Corpus, chance: Chance): unknown {
  if (scalar === undefined) return chance.below(6);
  switch (scalar) {
    case ScalarType.STRING: {
      if (chance.below(10) === 0) return chance.one(hostileTexts);
      const rules = hasOption(field, fieldRules) ? getOption(field, fieldRules) : undefined;
      const string = rules?.type.case === "string" ? rules.type.value : undefined;
      const fitting = string?.pattern ? corpus.texts.filter((text) => new RegExp(string.pattern, "u").test(text)) : [];
      return chance.one(fitting.length > 0 ? fitting : corpus.texts);
    }
    case ScalarType.BYTES: {
      const rules = hasOption(field, fieldRules) ? getOption(field, fieldRules) : undefined;
      const length = rules?.type.case === "bytes" ? Number(rules.type.value.len) : 0;
      return length > 0 && chance.below(8) > 0 ? chance.bytes(length) : chance.one(corpus.bytes);
    }
    case ScalarType.BOOL:
      return chance.below(2) === 0;
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return chance.one([0n, 1n, 2n, 1_000_000n, 2n ** 53n, 2n ** 63n - 1n]);
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return chance.one([0, 1, -1, 1e300, Number.NaN]);
    default:
      return chance.one([0, 1, 2, 100, 2 ** 31 - 1]);
  }
}

/** Bodies for a method: messages as they should be, the same damaged, and bytes that were never a message. */
export function body(schema: DescMessage, corpus: Corpus, chance: Chance): Uint8Array {
  if (chance.below(8) === 0) return chance.bytes(chance.below(400));
  const bytes = Uint8Array.from(toBinary(schema, plausible(schema, corpus, chance) as never));
  for (let damages = chance.below(4); damages > 0 && bytes.length > 0; damages--) {
    const at = chance.below(bytes.length);
    switch (chance.below(6)) {
      case 0:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << chance.below(8));
        break;
      case 1:
        return bytes.subarray(0, at);
      case 2:
        // A length or a varint that claims more than there is.
        bytes.fill(0xff, at, at + chance.below(10));
        break;
      case 3:
        return Buffer.concat([bytes.subarray(0, at), chance.bytes(chance.below(64)), bytes.subarray(at)]);
      case 4:
        return Buffer.concat([bytes, bytes]);
      default:
        bytes[at] = chance.below(256);
    }
  }
  return bytes;
}
