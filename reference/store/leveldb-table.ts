// LevelDB's table format (leveldb/doc/table_format.md): blocks with checksums, an index of them, and a footer that leads to the index.

import { ByteReader } from "./byte-reader.ts";
import { crc32c } from "./crc32c.ts";
import { storedChecksum } from "./leveldb-log.ts";
import { snappyUncompress } from "./snappy.ts";

const footerBytes = 48;
const magic = 0xdb4775248b80fb57n;
/** After each block: how it is compressed, and the checksum. */
const trailerBytes = 5;
const snappy = 1;

/** A table that is not what LevelDB wrote. */
export class TableDamage extends Error {
  override name = "TableDamage";
}

/** Reads every block of a table. @throws TableDamage */
export function checkTable(file: Buffer): void {
  if (file.length < footerBytes || file.readBigUInt64LE(file.length - 8) !== magic) throw new TableDamage("cut short");
  const footer = new ByteReader(file.subarray(file.length - footerBytes, file.length - 8));
  const contents = [readHandle(footer), readHandle(footer)].map((handle) => block(file, handle));
  // The footer leads to the filters' index and to that of the data; what they lead to has only to be as it was written.
  for (const index of contents) for (const handle of handlesIn(index)) checkedBlock(file, handle);
}

interface Handle {
  readonly offset: number;
  readonly size: number;
}

function readHandle(reader: ByteReader): Handle {
  return { offset: reader.varint(), size: reader.varint() };
}

/** A block as written, once its checksum has been compared. */
function checkedBlock(file: Buffer, { offset, size }: Handle): Buffer {
  if (offset + size + trailerBytes > file.length - footerBytes) throw new TableDamage(`no block at ${offset}`);
  const crc = storedChecksum(crc32c(file.subarray(offset, offset + size + 1)));
  if (crc !== file.readUInt32LE(offset + size + 1)) throw new TableDamage(`altered at ${offset}`);
  return file.subarray(offset, offset + size + 1);
}

function block(file: Buffer, handle: Handle): Uint8Array {
  const stored = checkedBlock(file, handle);
  const data = stored.subarray(0, -1);
  return stored.at(-1) === snappy ? snappyUncompress(data) : data;
}

/** The values of an index: keys with the prefix left out that they share, each value a handle; then restart points and their number. */
function* handlesIn(index: Uint8Array): Iterable<Handle> {
  const restarts = Buffer.from(index.buffer, index.byteOffset, index.byteLength).readUInt32LE(index.length - 4);
  const reader = new ByteReader(index.subarray(0, index.length - 4 * (restarts + 1)));
  while (!reader.done) {
    reader.varint();
    const keyBytes = reader.varint();
    const valueBytes = reader.varint();
    reader.bytes(keyBytes);
    yield readHandle(new ByteReader(reader.bytes(valueBytes)));
  }
}
