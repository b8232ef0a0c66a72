// Where an offline audit reads blocks from: a node's database, even a damaged one, or an export of it.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Level } from "level";
import type { Block } from "../../gen/x1410/v1/ledger_pb.ts";
import type { ChainHead } from "./block.ts";
import { ledgerDatabase } from "./chain-store.ts";
import { stateKeyEncoding } from "./ledger-state.ts";
import type { TrustAtTime } from "./trust-at-time.ts";
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
  /** What is worth telling and no fault. */
  readonly notices: readonly string[];
  /** Why receipts that the node keeps for this block, which was verified, are none; undefined where they are. */
  receiptFault(block: Block, trust: TrustAtTime): Promise<string | undefined>;
  /** The first of what the node stores beside blocks that differs from what they add up to; undefined where nothing does. */
  storedFault(audited: AuditState & { readonly size: number }, head: ChainHead): Promise<string | undefined>;
  close(): Promise<void>;
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
