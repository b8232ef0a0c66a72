// Where an offline audit reads blocks from: a node's database, even a damaged one, or an export of it.
import { createReadStream, existsSync } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { sizeDelimitedDecodeStream, sizeDelimitedEncode } from "@bufbuild/protobuf/wire";
import { Level } from "level";
import { type Block, BlockSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { ledgerDatabase, storedParts } from "./chain-store.ts";
import { DatabaseInUse, DatabaseView } from "./database-view.ts";
import { stateKeyEncoding } from "./ledger-state.ts";
import type { AuditState } from "./verify.ts";

/** The source cannot be read at all; the message says why and what to do. */
export class AuditSourceError extends Error {
  override readonly name = "AuditSourceError";
}

export interface AuditSource {
  /** In the order of their heights, as far as they can be read. @throws SyntaxError where bytes are no block */
  blocks(from?: bigint): AsyncIterable<Block>;
  /** The last block that there is. */
  newest(): Promise<Block | undefined>;
  /** The first key of the node's stored state that differs from what the blocks add up to; undefined where there is none. */
  stateFault(audited: AuditState & { readonly size: number }): Promise<string | undefined>;
  close(): Promise<void>;
}

/** Opens the database folder of a node that is not running. Nothing in it, nor beside it, changes. */
export async function openNodeDatabase(folder: string): Promise<AuditSource> {
  const directory = resolve(folder);
  if (!existsSync(join(directory, "CURRENT"))) throw new AuditSourceError(`${folder} holds no ledger`);
  const view = await viewOf(directory);
  try {
    await view.fill(directory);
    return await openStored(view, folder);
  } catch (cause) {
    await view.remove();
    if (cause instanceof AuditSourceError) throw cause;
    throw new AuditSourceError(`${folder} does not open: ${causeOf(cause)}`);
  }
}

async function viewOf(folder: string): Promise<DatabaseView> {
  try {
    return await DatabaseView.of(folder);
  } catch (cause) {
    if (cause instanceof DatabaseInUse)
      throw new AuditSourceError(`${folder} is in use; stop the node, or audit an export`);
    throw new AuditSourceError(`${folder} cannot be locked: ${causeOf(cause)}`);
  }
}

/** `level` puts the telling message behind a general one. */
function causeOf(error: unknown): string {
  const why = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return why instanceof Error ? why.message : String(why);
}

async function openStored(view: DatabaseView, folder: string): Promise<AuditSource> {
  const db = new Level<string, string>(view.path, { createIfMissing: false, ...ledgerDatabase });
  await db.open();
  const { blocks, state } = storedParts(db);
  try {
    await blocks.open("r");
  } catch (cause) {
    await db.close();
    throw new AuditSourceError(`${folder}: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  return {
    async *blocks(from = 1n) {
      for await (const bytes of blocks.from(from)) yield decodeBlock(bytes);
    },
    async newest() {
      const bytes = await blocks.get(await blocks.lastHeight());
      return bytes === undefined ? undefined : decodeBlock(bytes);
    },
    async stateFault(audited) {
      let entries = 0;
      for await (const [key, value] of state.iterator()) {
        const expected = audited.get(key);
        if (expected === undefined || Buffer.compare(expected, value) !== 0) return key;
        entries += 1;
      }
      return entries === audited.size ? undefined : `${audited.size - entries} entries are missing`;
    },
    async close() {
      await blocks.close();
      await db.close();
      await view.remove();
    },
  };
}

/** Opens an export: blocks one after the other, each behind its length as a varint (protobuf's size-delimited form). */
export function openExport(file: string): AuditSource {
  if (!existsSync(file)) throw new AuditSourceError(`${file} does not exist`);
  return {
    async *blocks(from = 1n) {
      let height = 0n;
      const stream = createReadStream(file);
      try {
        for await (const block of sizeDelimitedDecodeStream(BlockSchema, stream)) {
          height += 1n;
          if (height >= from) yield block;
        }
      } catch (cause) {
        throw new SyntaxError(`the export breaks off or is no export: ${cause instanceof Error ? cause.message : ""}`);
      } finally {
        stream.destroy();
      }
    },
    async newest() {
      let newest: Block | undefined;
      for await (const block of this.blocks()) newest = block;
      return newest;
    },
    stateFault: async () => undefined,
    close: async () => undefined,
  };
}

/** Writes an export, durable when this resolves. Answers how many blocks. */
export async function writeExport(file: string, blocks: AsyncIterable<Block>): Promise<number> {
  const out = await open(file, "wx", 0o644);
  let count = 0;
  try {
    for await (const block of blocks) {
      await out.write(sizeDelimitedEncode(BlockSchema, block));
      count += 1;
    }
    await out.sync();
  } finally {
    await out.close();
  }
  return count;
}

/** State of an audit on disk, in a temporary folder: memory stays flat however long the chain is. */
export class TemporaryState implements AuditState {
  readonly #folder: string;
  readonly #db: Level<string, Uint8Array>;
  #size = 0;

  private constructor(folder: string, db: Level<string, Uint8Array>) {
    this.#folder = folder;
    this.#db = db;
  }

  static async create(): Promise<TemporaryState> {
    const folder = await mkdtemp(join(tmpdir(), "x1410-audit-"));
    const db = new Level<string, Uint8Array>(folder, {
      ...ledgerDatabase,
      keyEncoding: stateKeyEncoding,
      valueEncoding: "view",
    });
    await db.open();
    return new TemporaryState(folder, db);
  }

  /** Keys. */
  get size(): number {
    return this.#size;
  }

  get(key: string): Uint8Array | undefined {
    return this.#db.getSync(key);
  }

  async apply(changes: ReadonlyMap<string, Uint8Array>): Promise<void> {
    for (const key of changes.keys()) if (this.get(key) === undefined) this.#size += 1;
    await this.#db.batch([...changes].map(([key, value]) => ({ type: "put", key, value })));
  }

  async remove(): Promise<void> {
    await this.#db.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function decodeBlock(bytes: Uint8Array): Block {
  try {
    return fromBinary(BlockSchema, bytes);
  } catch (cause) {
    throw new SyntaxError("the stored block does not parse", { cause });
  }
}
