// What the blocks add up to: contracts, accesses, usages, counts, proposer and transaction index, as keys and bytes. Stored, never replayed
// at start, so that starting takes as long for a long chain as for a short one.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type ChangeProposer,
  ChangeProposerSchema,
  type SmartContract,
  SmartContractSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";

export interface StateReader {
  get(key: string): Uint8Array | undefined;
}

/** Where a transaction is. */
export interface TransactionPlace {
  readonly height: bigint;
  readonly index: number;
}

/** Changes on top of a state: of one block while it is formed or verified, until they are stored or dropped together. */
export class LedgerState {
  readonly #below: StateReader;
  readonly #changes = new Map<string, Uint8Array>();

  constructor(below: StateReader) {
    this.#below = below;
  }

  /** Every key set here, with its newest value. */
  get changes(): ReadonlyMap<string, Uint8Array> {
    return this.#changes;
  }

  get(key: string): Uint8Array | undefined {
    return this.#changes.get(key) ?? this.#below.get(key);
  }

  contract(contractId: string): SmartContract | undefined {
    const bytes = this.get(`c!${contractId}`);
    if (bytes === undefined) return undefined;
    return { ...fromBinary(SmartContractSchema, bytes), accessCount: this.#accessCount(contractId) };
  }

  /** All of a contract but its count, which has a key of its own: it changes with each access, the terms hardly ever. */
  setContract(contract: SmartContract): void {
    const terms = toBinary(SmartContractSchema, { ...contract, accessCount: 0n });
    this.#changes.set(`c!${contract.contractId}`, terms);
  }

  /** One more access in all. */
  countAccess(contractId: string): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(this.#accessCount(contractId) + 1n);
    this.#changes.set(`n!${contractId}`, bytes);
  }

  #accessCount(contractId: string): bigint {
    const bytes = this.get(`n!${contractId}`);
    return bytes === undefined ? 0n : Buffer.from(bytes).readBigUInt64BE();
  }

  /** The contract that an access executed. */
  contractOfAccess(accessId: string): string | undefined {
    const bytes = this.get(`a!${accessId}`);
    return bytes === undefined ? undefined : Buffer.from(bytes).toString("hex");
  }

  setAccess(accessId: string, contractId: string): void {
    this.#changes.set(`a!${accessId}`, Buffer.from(contractId, "hex"));
  }

  hasUsage(usageId: string): boolean {
    return this.get(`u!${usageId}`) !== undefined;
  }

  setUsage(usageId: string, accessId: string): void {
    this.#changes.set(`u!${usageId}`, Buffer.from(accessId, "hex"));
  }

  /** Accesses of one consumer pseudonym under one contract. */
  accessesOf(contractId: string, pseudonym: Uint8Array): number {
    const bytes = this.get(countKey(contractId, pseudonym));
    return bytes === undefined ? 0 : Buffer.from(bytes).readUInt32BE();
  }

  setAccessesOf(contractId: string, pseudonym: Uint8Array, count: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(count);
    this.#changes.set(countKey(contractId, pseudonym), bytes);
  }

  /** Who proposes the next block, and with which key; undefined before the first block. */
  proposer(): ChangeProposer | undefined {
    const bytes = this.get("proposer");
    return bytes === undefined ? undefined : fromBinary(ChangeProposerSchema, bytes);
  }

  setProposer(proposer: string, publicKeySha256: Uint8Array): void {
    const bytes = toBinary(ChangeProposerSchema, create(ChangeProposerSchema, { proposer, publicKeySha256 }));
    this.#changes.set("proposer", bytes);
  }

  placeOf(transactionId: string): TransactionPlace | undefined {
    const bytes = this.get(`t!${transactionId}`);
    if (bytes === undefined) return undefined;
    const view = Buffer.from(bytes);
    return { height: BigInt(view.readUIntBE(0, 6)), index: view.readUInt16BE(6) };
  }

  setPlaceOf(transactionId: string, { height, index }: TransactionPlace): void {
    const bytes = Buffer.alloc(8);
    bytes.writeUIntBE(Number(height), 0, 6);
    bytes.writeUInt16BE(index, 6);
    this.#changes.set(`t!${transactionId}`, bytes);
  }
}

/** Keys of a state as they are stored: the letter and the bytes of the hexadecimal digits, since their number decides what LevelDB has to rewrite. */
export const stateKeyEncoding = {
  name: "x1410-ledger-state",
  format: "buffer" as const,
  encode(key: string): Buffer {
    const [kind = "", ...ids] = key.split("!");
    return ids.length === 0
      ? Buffer.from(`!${kind}`)
      : Buffer.concat([Buffer.from(kind), Buffer.from(ids.join(""), "hex")]);
  },
  decode(bytes: Buffer): string {
    const kind = bytes.toString("latin1", 0, 1);
    if (kind === "!") return bytes.toString("utf8", 1);
    const ids = bytes.toString("hex", 1);
    return kind === "p" ? `p!${ids.slice(0, 32)}!${ids.slice(32)}` : `${kind}!${ids}`;
  },
};

function countKey(contractId: string, pseudonym: Uint8Array): string {
  return `p!${contractId}!${Buffer.from(pseudonym).toString("hex")}`;
}
