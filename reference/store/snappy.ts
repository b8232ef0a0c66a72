// Reads the Snappy format (google/snappy, format_description.txt), with which LevelDB compresses blocks where that saves anything.
import { ByteReader } from "./byte-reader.ts";

/** @throws EndOfBytes, RangeError where the data is not Snappy's */
export function snappyUncompress(compressed: Uint8Array): Uint8Array {
  const reader = new ByteReader(compressed);
  const output = new Uint8Array(reader.varint());
  let at = 0;
  while (!reader.done) {
    const [tag = 0] = reader.bytes(1);
    if ((tag & 3) === 0) {
      const literal = reader.bytes(literalBytes(reader, tag >> 2));
      output.set(literal, at);
      at += literal.length;
    } else {
      const { length, offset } = copyOf(reader, tag);
      if (offset === 0 || offset > at) throw new RangeError("a copy from before the beginning");
      // A copy may overlap what it writes, and then repeats it.
      for (let copied = 0; copied < length; copied++, at++) output[at] = output[at - offset] ?? 0;
    }
  }
  return output;
}

function literalBytes(reader: ByteReader, size: number): number {
  return 1 + (size < 60 ? size : littleEndian(reader, size - 59));
}

function copyOf(reader: ByteReader, tag: number): { readonly length: number; readonly offset: number } {
  if ((tag & 3) === 1) return { length: 4 + ((tag >> 2) & 7), offset: ((tag >> 5) << 8) + littleEndian(reader, 1) };
  return { length: 1 + (tag >> 2), offset: littleEndian(reader, (tag & 3) === 2 ? 2 : 4) };
}

function littleEndian(reader: ByteReader, count: number): number {
  return reader.bytes(count).reduceRight((value, byte) => value * 256 + byte, 0);
}
