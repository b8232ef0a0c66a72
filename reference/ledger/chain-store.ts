// Blocks in a file of their own, state in LevelDB: the block's place, what it changes and the new head go into one synced batch, after its bytes,
// so that a kill at any instant leaves either all of it or nothing. LevelDB drops a torn tail of its log by itself; anything else that does not
// fit is refused at opening.
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import type { Level } from "level";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type Block, BlockSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { tellFault } from "../communications/fault.ts";
import { type Log, silentLog } from "../communications/log.ts";
import { refusal } from "../communications/refusal.ts";
import { assertRoomToReopen } from "../store/room.ts";
import {
  beforeFirstBlock,
  type ChainHead,
  decodeEnvelope,
  decodeHeader,
  encodeBlock,
  headOf,
  transactionIdOf,
} from "./block.ts";
import { BlockArchive, type BlockIndex, heightKey } from "./block-archive.ts";
import { LedgerState, type StateReader, stateKeyEncoding } from "./ledger-state.ts";
import { merkleRoot } from "./merkle.ts";

type Part = BlockIndex;

interface Put {
  readonly type: "put";
  readonly sublevel: Part;
  readonly key: string;
  readonly value: Uint8Array;
}

/** The store is not what this node wrote. The node refuses to start on it, or stops: an operator restores it or lets it catch up anew. */
export class LedgerStoreFault extends Error {
  override readonly name = "LedgerStoreFault";
  readonly code: "corrupt" | "other-network" | "other-format";
  readonly height: bigint;

  constructor(code: LedgerStoreFault["code"], height: bigint, detail: string, options?: ErrorOptions) {
    super(`ledger store, block ${height}: ${code}: ${detail}`, options);
    this.code = code;
    this.height = height;
  }
}

interface HeadRecord {
  readonly format: number;
  readonly networkId: string;
  readonly height: string;
  readonly hash: string;
}

const FORMAT = 2;
const HEAD = "head";
const FINAL = "final";
const binary = { keyEncoding: "utf8", valueEncoding: "view" } as const;
const keyed = { keyEncoding: stateKeyEncoding, valueEncoding: "view" } as const;

/**
 * For the LevelDB of a ledger. Its keys are hashes, so that each merge of LevelDB touches everything of a level: larger and fewer merges cost
 * less. What is in the log when a node stops is read at its next start; 16 MiB take a fraction of a second.
 */
export const ledgerDatabase = { writeBufferSize: 16 * 1024 * 1024, maxFileSize: 8 * 1024 * 1024 } as const;

/** What a node knows of a block when it stores it. */
export interface BlockEvidence {
  /** Height up to which blocks are final with this one. */
  readonly final?: bigint | undefined;
  /** By node. */
  readonly receipts?: ReadonlyMap<string, SignedEnvelope>;
}

export class ChainStore implements StateReader {
  readonly #db: Level;
  readonly #networkId: string;
  readonly #log: Log;
  #blocks: BlockArchive;
  #state: Part;
  #meta: Part;
  #receipts: Part;
  #head: ChainHead = beforeFirstBlock;
  #final = 0n;
  /** Set where a write failed: a piece of it may lie in LevelDB's log, and a restart finds nothing of what is written behind that. */
  #torn = false;
  /** Set while the database is closed, or does not open. */
  #away = false;
  #keeping: Promise<void> | undefined;

  private constructor(db: Level, networkId: string, log: Log) {
    this.#db = db;
    this.#networkId = networkId;
    this.#log = log;
    [this.#blocks, this.#state, this.#meta, this.#receipts] = partsOf(db);
  }

  /**
   * Opens the store in a database that belongs to the ledger alone, and checks that its end fits together.
   * @throws LedgerStoreFault where it does not, or is another network's; Level's own error where LevelDB cannot open it
   */
  static async open(db: Level, networkId: string, log: Log = silentLog): Promise<ChainStore> {
    const store = new ChainStore(db, networkId, log);
    await db.open();
    try {
      await store.#load();
    } catch (cause) {
      await store.close();
      throw cause;
    }
    return store;
  }

  /** The database stays open: it is its owner's. */
  async close(): Promise<void> {
    await this.#keeping;
    await this.#blocks.close();
  }

  /** Whether a write failed, whichever: nothing more is written before `reopen`. */
  get torn(): boolean {
    return this.#torn;
  }

  /** Set where `reopen` could not open it again: there are no reads either until it can. */
  get away(): boolean {
    return this.#away;
  }

  /**
   * After a failed write nobody knows what is on disk: opens the database anew and believes what is there. Without room for that it is left
   * open, for reads.
   */
  async reopen(): Promise<void> {
    if (!this.#away) await assertRoomToReopen(this.#db.location);
    this.#away = true;
    const known = this.#final;
    await this.close();
    await this.#db.close();
    await this.#db.open();
    [this.#blocks, this.#state, this.#meta, this.#receipts] = partsOf(this.#db);
    await this.#load();
    this.#torn = false;
    this.#away = false;
    this.noteFinal(known);
  }

  get head(): ChainHead {
    return this.#head;
  }

  /** Height up to which blocks are final, as this node knew when it was last told: over restarts it may be less than it was, never more. */
  get final(): bigint {
    return this.#final;
  }

  /** Remembers what is final; durable with the next block. What is lost of it is learned anew. */
  noteFinal(height: bigint): void {
    if (height <= this.#final) return;
    this.#final = height;
    this.#keeping ??= this.#keepFinal().finally(() => {
      this.#keeping = undefined;
    });
  }

  get(key: string): Uint8Array | undefined {
    return readable(() => this.#state.getSync(key));
  }

  /** @throws LedgerStoreFault where the bytes at this height are no block of this height */
  async block(height: bigint): Promise<Block | undefined> {
    try {
      const bytes = await readable(() => this.#blocks.get(height));
      if (bytes === undefined) return undefined;
      const block = fromBinary(BlockSchema, bytes);
      const header = decodeHeader(block.header?.payload ?? new Uint8Array());
      if (header.height !== height) throw new SyntaxError(`says that it is block ${header.height}`);
      return block;
    } catch (cause) {
      if (cause instanceof ConnectError) throw cause;
      throw new LedgerStoreFault("corrupt", height, cause instanceof Error ? cause.message : "", { cause });
    }
  }

  /**
   * Makes a verified block the new head; its receipts and what is final with it are part of the same write. Durable once this resolves. After a
   * failure the store is `torn`.
   */
  async append(
    block: Block,
    head: ChainHead,
    changes: ReadonlyMap<string, Uint8Array>,
    { final = this.#final, receipts = new Map() }: BlockEvidence = {},
  ): Promise<void> {
    const record: HeadRecord = {
      format: FORMAT,
      networkId: this.#networkId,
      height: String(head.height),
      hash: Buffer.from(head.hash).toString("hex"),
    };
    const entry = await this.#durable(() => this.#blocks.write(head.height, encodeBlock(block)));
    const operations: Put[] = [
      { type: "put", sublevel: this.#blocks.index, ...entry },
      { type: "put", sublevel: this.#meta, key: HEAD, value: Buffer.from(JSON.stringify(record)) },
      { type: "put", sublevel: this.#meta, key: FINAL, value: Buffer.from(String(final)) },
    ];
    for (const [node, receipt] of receipts) {
      const value = toBinary(SignedEnvelopeSchema, receipt);
      operations.push({ type: "put", sublevel: this.#receipts, key: receiptKey(head.height, node), value });
    }
    for (const [key, value] of changes) operations.push({ type: "put", sublevel: this.#state, key, value });
    await this.#write(operations, { sync: true });
    this.#blocks.wrote(entry);
    this.#head = head;
    if (final > this.#final) this.#final = final;
  }

  /** Keeps a node's signed BlockReceipt. Not synced: a lost one is asked for again. */
  async putReceipt(height: bigint, node: string, receipt: SignedEnvelope): Promise<void> {
    const value = toBinary(SignedEnvelopeSchema, receipt);
    await this.#write([{ type: "put", sublevel: this.#receipts, key: receiptKey(height, node), value }]);
  }

  async receipts(height: bigint): Promise<SignedEnvelope[]> {
    const range = { gte: `${heightKey(height)}!`, lt: `${heightKey(height)}"`, ...binary };
    const found = await readable(() => this.#receipts.values(range).all());
    return found.map((bytes) => fromBinary(SignedEnvelopeSchema, bytes));
  }

  /** Nodes whose receipts for this height are kept. */
  async holders(height: bigint): Promise<string[]> {
    const keys = await this.#receipts
      .keys({ gte: receiptKey(height, ""), lt: `${heightKey(height)}"`, ...binary })
      .all();
    return keys.map((key) => key.slice(key.indexOf("!") + 1));
  }

  /** The newest height for which this node's receipt is kept; 0 where there is none. */
  async receivedUpTo(node: string): Promise<bigint> {
    for await (const key of this.#receipts.keys({ reverse: true, limit: RECEIPTS_SEARCHED, ...binary })) {
      const [height = "", holder] = key.split("!");
      if (holder === node) return BigInt(`0x${height}`);
    }
    return 0n;
  }

  async #load(): Promise<void> {
    await Promise.all([this.#blocks.index, this.#state, this.#meta, this.#receipts].map((part) => part.open()));
    const record = await storedHead(this.#meta);
    const lastHeight = await this.#blocks.lastHeight();
    if (record === undefined) {
      if (lastHeight !== 0n) throw new LedgerStoreFault("corrupt", lastHeight, "the head is missing");
      await this.#openBlocks(0n);
      this.#head = beforeFirstBlock;
      return;
    }
    if (record.format !== FORMAT) throw new LedgerStoreFault("other-format", 0n, `format ${record.format}`);
    if (record.networkId !== this.#networkId) {
      throw new LedgerStoreFault("other-network", 0n, `belongs to ${record.networkId}, not to ${this.#networkId}`);
    }
    await this.#openBlocks(lastHeight);
    this.#head = await this.#checkedHead(BigInt(record.height), record.hash, lastHeight);
    const final = await this.#meta.get(FINAL, binary);
    this.#final = final === undefined ? 0n : BigInt(Buffer.from(final).toString());
  }

  /** One write at a time, so that none overtakes another. */
  async #keepFinal(): Promise<void> {
    try {
      for (let kept = 0n; kept < this.#final; ) {
        const height = this.#final;
        const value = Buffer.from(String(height));
        await this.#write([{ type: "put", sublevel: this.#meta, key: FINAL, value }]);
        kept = height;
      }
    } catch (cause) {
      // Tried again once the database has been opened anew.
      tellFault(cause, "keep what is final", this.#log);
    }
  }

  /** Every write goes this way. */
  #write(operations: Put[], options: { readonly sync?: boolean } = {}): Promise<void> {
    return this.#durable(() => this.#db.batch<string, Uint8Array>(operations, options));
  }

  async #durable<T>(write: () => Promise<T>): Promise<T> {
    if (this.#torn) throw refusal(ErrorReason.LEDGER_UNAVAILABLE, "store");
    let result: T;
    try {
      result = await write();
    } catch (cause) {
      this.#torn = true;
      throw cause;
    }
    // It may lie behind the piece of another, which failed meanwhile: nobody may rely on it, nor on that it is not there.
    if (this.#torn) throw Object.assign(new Error("another write has failed"), { code: "EIO" });
    return result;
  }

  async #openBlocks(height: bigint): Promise<void> {
    try {
      await this.#blocks.open();
    } catch (cause) {
      if (!(cause instanceof SyntaxError)) throw cause;
      throw new LedgerStoreFault("corrupt", height, `${cause.message}; restore it from a copy`, { cause });
    }
  }

  /** The head record, the newest block and the index of its transactions were written together and must fit. */
  async #checkedHead(height: bigint, hash: string, lastHeight: bigint): Promise<ChainHead> {
    const corrupt = (detail: string): LedgerStoreFault => new LedgerStoreFault("corrupt", height, detail);
    if (lastHeight !== height) throw corrupt(`the newest block is ${lastHeight}`);
    const block = await this.block(height);
    if (block?.header === undefined) throw corrupt("the block is missing");
    const header = decodeHeader(block.header.payload);
    const head = headOf(header, block.header.payload);
    if (Buffer.from(head.hash).toString("hex") !== hash) throw corrupt("the block is not the head's");
    if (Buffer.compare(merkleRoot(block.transactions), header.transactionsRoot) !== 0) {
      throw corrupt("the transactions are not those of the header");
    }
    const state = new LedgerState(this);
    for (const [index, bytes] of block.transactions.entries()) {
      const place = state.placeOf(transactionIdOf(decodeEnvelope(bytes).payload));
      if (place?.height !== height || place.index !== index) throw corrupt(`transaction ${index} is not indexed`);
    }
    return head;
  }
}

function receiptKey(height: bigint, node: string): string {
  return `${heightKey(height)}!${node}`;
}

/** Nodes of a network are few; a node whose last receipt lies further back starts over, which costs no correctness. */
const RECEIPTS_SEARCHED = 1000;

/** The parts that an auditor reads, without the checks that a node makes at opening: also of a store that no node would open. */
export function storedParts(db: Level<string, string>) {
  const [blocks, state, meta, receipts] = partsOf(db);
  return { blocks, state, meta, receipts };
}

/** What the node holds for its newest block. */
export async function storedHead(meta: Part): Promise<HeadRecord | undefined> {
  const bytes = await meta.get(HEAD, binary);
  return bytes === undefined ? undefined : (JSON.parse(Buffer.from(bytes).toString()) as HeadRecord);
}

function partsOf(db: Level): [BlockArchive, Part, Part, Part] {
  const part = (name: string): Part => db.sublevel<string, Uint8Array>(name, binary);
  const state = db.sublevel<string, Uint8Array>("state", keyed);
  return [new BlockArchive(part("blocks"), db.location), state, part("meta"), part("receipts")];
}

/** While the database is being opened anew, reads are refused rather than answered wrongly. */
function readable<T>(read: () => T): T {
  const refuse = (cause: unknown): never => {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "LEVEL_DATABASE_NOT_OPEN" || code === "LEVEL_ITERATOR_NOT_OPEN") {
      throw refusal(ErrorReason.LEDGER_UNAVAILABLE, "store");
    }
    throw cause;
  };
  try {
    const result = read();
    return result instanceof Promise ? (result.catch(refuse) as T) : result;
  } catch (cause) {
    return refuse(cause);
  }
}
