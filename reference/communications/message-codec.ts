// Messages to bytes and back. The generic codec is protobuf-es; a message that carries bulk data may bring a codec of its own.
import {
  create,
  type DescMessage,
  fromBinary,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";

export interface MessageCodec<D extends DescMessage = DescMessage> {
  readonly schema: D;
  /** The wire form of a message or of its init shape. */
  encode(message: MessageInitShape<D>): Buffer;
  /** May keep views of `bytes`. Throws on bytes that do not parse. */
  decode(bytes: Uint8Array): MessageShape<D>;
}

/** Codecs by type name, in place of the generic one. */
export type Codecs = ReadonlyMap<string, MessageCodec>;

export const noCodecs: Codecs = new Map();

export function codecFor(schema: DescMessage, codecs: Codecs): MessageCodec {
  return codecs.get(schema.typeName) ?? genericCodec(schema);
}

/** A message as implementations may return it, completed. */
export function complete<D extends DescMessage>(schema: D, message: MessageInitShape<D>): MessageShape<D> {
  const typeName = (message as Partial<Message>).$typeName;
  return typeName === schema.typeName ? (message as MessageShape<D>) : create(schema, message);
}

function genericCodec(schema: DescMessage): MessageCodec {
  return {
    schema,
    encode(message) {
      const bytes = toBinary(schema, complete(schema, message));
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
    decode: (bytes) => fromBinary(schema, plainBytes(bytes)),
  };
}

/** The same bytes as what messages promise: fields cut out of a Buffer would be Buffers, whose `slice` shares memory. */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
