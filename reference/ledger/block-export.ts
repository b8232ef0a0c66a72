// A chain in a file of its own, for auditors elsewhere: blocks one after the other, each behind its length as a varint (protobuf's
// size-delimited form). Like a block, a length has one encoding only.
import { existsSync } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { BinaryWriter, sizeDelimitedPeek } from "@bufbuild/protobuf/wire";
import type { Block } from "../../gen/x1410/v1/ledger_pb.ts";
import { type AuditSource, AuditSourceError } from "./audit-source.ts";
import { decodeBlock, encodeBlock } from "./block.ts";

/** No block has 256 MiB. */
const MAX_LENGTH_BYTES = 4;

export function openExport(file: string): AuditSource {
  if (!existsSync(file)) throw new AuditSourceError(`${file} does not exist`);
  return {
    async *blocks(from = 1n) {
      let height = 0n;
      const handle = await open(file);
      try {
        for await (const bytes of frames(handle)) {
          height += 1n;
          if (height >= from) yield decodeBlock(bytes);
        }
      } finally {
        await handle.close();
      }
    },
    async newest() {
      let newest: Block | undefined;
      for await (const block of this.blocks()) newest = block;
      return newest;
    },
    notices: [],
    receiptFault: async () => undefined,
    storedFault: async () => undefined,
    close: async () => undefined,
  };
}

/** Writes an export, durable when this resolves; where it fails nothing is left of it. Answers how many blocks. */
export async function writeExport(file: string, blocks: AsyncIterable<Block>): Promise<number> {
  const out = await open(file, "wx", 0o644);
  let count = 0;
  try {
    for await (const block of blocks) {
      await out.appendFile(new BinaryWriter().bytes(encodeBlock(block)).finish());
      count += 1;
    }
    await out.sync();
  } catch (cause) {
    await rm(file, { force: true });
    throw cause;
  } finally {
    await out.close();
  }
  return count;
}

async function* frames(file: FileHandle): AsyncGenerator<Uint8Array> {
  const { size: end } = await file.stat();
  for (let position = 0; position < end; ) {
    const { offset, size } = peeked(await read(file, position, Math.min(MAX_LENGTH_BYTES, end - position)));
    if (size > end - position - offset) throw brokenOff();
    yield await read(file, position + offset, size);
    position += offset + size;
  }
}

/** Length of a block, and how many bytes say it. @throws SyntaxError */
function peeked(bytes: Uint8Array): { readonly offset: number; readonly size: number } {
  let found: ReturnType<typeof sizeDelimitedPeek>;
  try {
    found = sizeDelimitedPeek(bytes);
  } catch {
    throw brokenOff();
  }
  const { offset, size } = found;
  if (offset === null || size === null) throw brokenOff();
  if (offset > 1 && bytes[offset - 1] === 0) throw new SyntaxError("the encoding of a block's length is not canonical");
  return { offset, size };
}

async function read(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
  if (bytesRead < length) throw brokenOff();
  return buffer;
}

function brokenOff(): SyntaxError {
  return new SyntaxError("the export breaks off or is no export");
}
