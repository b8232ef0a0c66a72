// Blocks as they are stored: one file that only grows, deflated, and an index of it in LevelDB. LevelDB merges and rewrites what it holds again and
// again, which for blocks would buy nothing: they come in order and are never changed. A block is on the disk before the index, in one batch
// with head and state, names its place; what a crash leaves behind the last place named is overwritten by the next block.
import { type FileHandle, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { crc32, deflateRaw, inflateRaw } from "node:zlib";
import type { AbstractSublevel } from "abstract-level";
import type { Level } from "level";
import { PRIVATE_FILE, syncDirectory } from "../../certs/durable-file.ts";

type Format = string | Buffer | Uint8Array;
export type BlockIndex = AbstractSublevel<Level, Format, string, Uint8Array>;

/** What is put into the index. */
export interface IndexEntry {
  readonly key: string;
  readonly value: Uint8Array;
}

interface Place {
  readonly position: number;
  /** Bytes in the file. */
  readonly length: number;
  /** Of these bytes. */
  readonly checksum: number;
}

const FILE_NAME = "blocks";
const PLACE_BYTES = 16;
/** More than a block may have; what inflates to more is none. */
const MAX_BLOCK_BYTES = 128 * 1024 * 1024;
/** Certificates stand again in every envelope: most of a block goes at the lowest level already. */
const FASTEST = { level: 1 };
const deflated = promisify<Uint8Array, object, Buffer>(deflateRaw);
const inflated = promisify<Uint8Array, object, Buffer>(inflateRaw);

export class BlockArchive {
  /** In the database's own terms, for batches. */
  readonly index: BlockIndex;
  readonly #path: string;
  #file: FileHandle | undefined;
  /** Where the next block goes. */
  #end = 0;

  /** @param location folder of the LevelDB that holds the index */
  constructor(index: BlockIndex, location: string) {
    this.index = index;
    this.#path = join(location, FILE_NAME);
  }

  /**
   * @param flags "r" for whoever only reads
   * @throws SyntaxError where the file is missing or shorter than the index says
   */
  async open(flags: "r" | "r+" = "r+"): Promise<void> {
    const [last] = await this.index.values({ reverse: true, limit: 1 }).all();
    this.#file = await openFile(this.#path, flags, last === undefined);
    const { position, length } = last === undefined ? { position: 0, length: 0 } : placeIn(last);
    this.#end = position + length;
    const { size } = await this.#file.stat();
    if (size >= this.#end) return;
    await this.close();
    throw new SyntaxError(`the file ${FILE_NAME} has ${size} bytes instead of ${this.#end}`);
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  /** Writes a block durably behind the last one and answers what makes it one of the chain once that is in the index. */
  async write(height: bigint, block: Uint8Array): Promise<IndexEntry> {
    const bytes = await deflated(block, FASTEST);
    const place = { position: this.#end, length: bytes.length, checksum: crc32(bytes) };
    const file = this.#opened();
    for (let written = 0; written < bytes.length; ) {
      const { bytesWritten } = await file.write(bytes, written, bytes.length - written, place.position + written);
      written += bytesWritten;
    }
    await file.datasync();
    return { key: heightKey(height), value: entryOf(place) };
  }

  /** The block is in the index: the next one goes behind it. */
  wrote({ value }: IndexEntry): void {
    const { position, length } = placeIn(value);
    this.#end = position + length;
  }

  /** Undefined where the index names none. @throws SyntaxError where the bytes are not those that were written */
  async get(height: bigint): Promise<Uint8Array | undefined> {
    const entry = await this.index.get(heightKey(height));
    return entry === undefined ? undefined : this.#read(entry);
  }

  /** From a height on, in order. @throws SyntaxError where the bytes are not those that were written */
  async *from(height: bigint): AsyncGenerator<Uint8Array> {
    for await (const entry of this.index.values({ gte: heightKey(height) })) yield await this.#read(entry);
  }

  /** Height of the last block in the index; 0 where there is none. */
  async lastHeight(): Promise<bigint> {
    const [key] = await this.index.keys({ reverse: true, limit: 1 }).all();
    return key === undefined ? 0n : BigInt(`0x${key}`);
  }

  async #read(entry: Uint8Array): Promise<Uint8Array> {
    const { position, length, checksum } = placeIn(entry);
    const file = this.#opened();
    // The index may be altered as well, and is not to say how much memory is taken.
    const { size } = await file.stat();
    if (length === 0 || position + length > size) throw new SyntaxError("the index of blocks is altered");
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
    if (bytesRead < length || crc32(buffer) !== checksum) throw new SyntaxError("the stored bytes are altered");
    return inflated(buffer, { maxOutputLength: MAX_BLOCK_BYTES });
  }

  #opened(): FileHandle {
    if (this.#file === undefined) throw Object.assign(new Error("closed"), { code: "LEVEL_DATABASE_NOT_OPEN" });
    return this.#file;
  }
}

/** 16 hexadecimal digits: the order of keys is the order of heights. */
export function heightKey(height: bigint): string {
  return height.toString(16).padStart(16, "0");
}

async function openFile(path: string, flags: string, mayBeNew: boolean): Promise<FileHandle> {
  try {
    return await open(path, flags);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
    if (!mayBeNew) throw new SyntaxError(`the file ${FILE_NAME} is missing`);
    const file = await open(path, "wx+", PRIVATE_FILE);
    syncDirectory(dirname(path));
    return file;
  }
}

function entryOf({ position, length, checksum }: Place): Uint8Array {
  const bytes = Buffer.alloc(PLACE_BYTES);
  bytes.writeBigUInt64BE(BigInt(position));
  bytes.writeUInt32BE(length, 8);
  bytes.writeUInt32BE(checksum, 12);
  return bytes;
}

function placeIn(entry: Uint8Array): Place {
  if (entry.length !== PLACE_BYTES) throw new SyntaxError("the index of blocks is altered");
  const bytes = Buffer.from(entry);
  return {
    position: Number(bytes.readBigUInt64BE()),
    length: bytes.readUInt32BE(8),
    checksum: bytes.readUInt32BE(12),
  };
}
