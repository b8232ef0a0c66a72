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
    return bytes === undefined ? undefined : fromBinary(SmartContractSchema, bytes);
  }

  setContract(contract: SmartContract): void {
    this.#changes.set(`c!${contract.contractId}`, toBinary(SmartContractSchema, contract));
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
    return { height: view.readBigUInt64BE(), index: view.readUInt32BE(8) };
  }

  setPlaceOf(transactionId: string, { height, index }: TransactionPlace): void {
    const bytes = Buffer.alloc(12);
    bytes.writeBigUInt64BE(height);
    bytes.writeUInt32BE(index, 8);
    this.#changes.set(`t!${transactionId}`, bytes);
  }
}

function countKey(contractId: string, pseudonym: Uint8Array): string {
  return `p!${contractId}!${Buffer.from(pseudonym).toString("hex")}`;
}
