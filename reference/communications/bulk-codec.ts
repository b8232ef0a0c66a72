// Messages that carry a chunk of a package: tag, length and the bytes themselves, without the two further copies that the generic codec
// makes of a megabyte.
import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { GetPackageResponseSchema } from "../../gen/x1410/v1/data_distribution_pb.ts";
import { StorePackageRequestSchema } from "../../gen/x1410/v1/data_storage_pb.ts";
import { type Codecs, complete, type MessageCodec, plainBytes } from "./message-codec.ts";

/**
 * A codec for a message whose one-of `part` has a bytes field `data`. A message that is just that goes the short way; any other, and any
 * encoding that is not exactly one such field, goes through the generic codec. The wire form is the same either way.
 */
export function bulkCodec<D extends DescMessage>(schema: D): MessageCodec {
  const field = schema.fields.find(({ localName }) => localName === "data");
  if (field?.oneof?.localName !== "part")
    throw new Error(`${schema.typeName} has no bytes field "data" in a one-of "part"`);
  const tag = new BinaryWriter().tag(field.number, WireType.LengthDelimited).finish();
  return {
    schema,
    encode(message) {
      const data = soleData(message);
      if (data === undefined) {
        const bytes = toBinary(schema, complete(schema, message as MessageShape<D>));
        return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      }
      const length = new BinaryWriter().uint32(data.length).finish();
      return Buffer.concat([tag, length, data], tag.length + length.length + data.length);
    },
    decode(received) {
      const bytes = plainBytes(received);
      if (!tag.every((byte, index) => bytes[index] === byte)) return fromBinary(schema, bytes);
      const reader = new BinaryReader(bytes);
      reader.tag();
      const data = reader.bytes();
      if (reader.pos !== reader.len) return fromBinary(schema, bytes);
      const message = complete(schema, {} as MessageShape<D>);
      return Object.assign(message, { part: { case: "data", value: data } });
    },
  };
}

/** The codecs of this interface's bulk streams (F3.7.4, F4.17). */
export const bulkCodecs: Codecs = new Map(
  [GetPackageResponseSchema, StorePackageRequestSchema].map((schema) => [schema.typeName, bulkCodec(schema)]),
);

function soleData(message: object): Uint8Array | undefined {
  if ("$unknown" in message && message.$unknown !== undefined) return undefined;
  const { part } = message as { part?: { case?: string; value?: unknown } };
  return part?.case === "data" && part.value instanceof Uint8Array ? part.value : undefined;
}
