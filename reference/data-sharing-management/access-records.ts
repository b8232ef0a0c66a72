// Access records (DSAM2, DSAM3, DSAM7): every access gets its number and goes on the ledger exactly once, whatever fails in between.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type GetAccessRecordResponse,
  GetAccessRecordResponseSchema,
} from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { type AccessRecord, AccessRecordSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { RejectionReason } from "../../gen/x1410/v1/ledger_pb.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import type { Signer } from "../envelope/signer.ts";
import { commit as commitTo, consumerPseudonym } from "../ledger/commitment.ts";
import type { LedgerEngine } from "../ledger/engine.ts";
import { signTransaction } from "../ledger/transaction.ts";
import {
  type Change,
  commit,
  jsonTable,
  messageTable,
  put,
  remove,
  type Store,
  type Table,
  textTable,
} from "../store/durable-batch.ts";
import type { SharedContract } from "./contracts.ts";
import { submitTransaction } from "./dlt-transaction.ts";

/** An access that has been decided on and is to be recorded. */
export interface AccessIntent {
  /** Made by `idForRequest`, so that the same signed bytes are the same access. */
  readonly accessId: string;
  readonly contract: SharedContract;
  readonly consumer: string;
  /** SHA-256 of the certificate that the token will be bound to, 64 hexadecimal digits. */
  readonly fingerprint: string;
  readonly purpose: string;
  readonly request: SignedEnvelope;
}

export interface Access {
  readonly accessId: string;
  readonly contractId: string;
  readonly consumer: string;
  readonly accessNumber: number;
  readonly fingerprint: string;
  /** Record and openings; receipt and proof once it is on the ledger. */
  readonly evidence: GetAccessRecordResponse;
}

/** How the open accesses of an earlier run came out. */
export interface Reconciliation {
  readonly finished: number;
  readonly voided: number;
  /** The ledger could not tell yet; the next request that depends on one asks again. */
  readonly open: number;
}

type AccessEntry = Omit<Access, "accessId" | "evidence">;

/** Access numbers of one consumer under one contract. */
interface Tally {
  readonly next: number;
  /** Given back by accesses that did not come about. */
  readonly freed: readonly number[];
}

/** A page ends early at this size: the answer stays below what gRPC libraries receive by default, 4 MiB. */
export const PAGE_BYTES = 2 << 20;

const noTally: Tally = { next: 1, freed: [] };

const refusalOfRejection: ReadonlyMap<RejectionReason, ErrorReason> = new Map([
  [RejectionReason.UNKNOWN_CONTRACT, ErrorReason.CONTRACT_NOT_FOUND],
  [RejectionReason.WITHDRAWN, ErrorReason.CONTRACT_WITHDRAWN],
  [RejectionReason.EXPIRED, ErrorReason.CONTRACT_EXPIRED],
  [RejectionReason.ACCESS_TIMES_EXHAUSTED, ErrorReason.ACCESS_TIMES_EXHAUSTED],
]);

export class AccessRecords {
  readonly #store: Store;
  readonly #signer: Signer;
  readonly #engine: LedgerEngine;
  readonly #now: () => Date;
  readonly #entries: Table<AccessEntry>;
  readonly #evidence: Table<Uint8Array>;
  /** By contract, consumer and access: the transaction's bytes while it is open what the ledger made of them. */
  readonly #open: Table<Uint8Array>;
  readonly #tallies: Table<Tally>;
  /** By consumer and place on the ledger: the order of listing. */
  readonly #ofConsumer: Table<string>;
  readonly #mutex = new KeyedMutex();
  readonly #settling = new Map<string, Promise<Access>>();

  constructor(options: { store: Store; signer: Signer; engine: LedgerEngine; now: () => Date }) {
    this.#store = options.store;
    this.#signer = options.signer;
    this.#engine = options.engine;
    this.#now = options.now;
    this.#entries = jsonTable(options.store, "accesses");
    this.#evidence = messageTable(options.store, "access-evidence");
    this.#open = messageTable(options.store, "open-accesses");
    this.#tallies = jsonTable(options.store, "access-numbers");
    this.#ofConsumer = textTable(options.store, "accesses-of-consumer");
  }

  /** The access of this id where it is on the ledger. */
  async find(accessId: string): Promise<Access | undefined> {
    const access = await this.#read(accessId);
    return access !== undefined && isFinal(access) ? access : undefined;
  }

  /** The same, where an access that is still open is brought to its end first. @throws ConnectError as `record` */
  async resume(accessId: string): Promise<Access | undefined> {
    const access = await this.#read(accessId);
    return access === undefined || isFinal(access) ? access : this.#settle(access, false);
  }

  /**
   * Allots the access its number and records it on the ledger. Intent and transaction are durable before the ledger hears of them, so that a
   * crash or a lost answer leaves nothing that cannot be finished.
   * @throws ConnectError ACCESS_TIMES_EXHAUSTED, CONTRACT_NOT_FOUND, CONTRACT_WITHDRAWN, CONTRACT_EXPIRED, LEDGER_UNAVAILABLE: there is no
   * access; OUTCOME_UNKNOWN: the same intent again finds out
   */
  async record(intent: AccessIntent): Promise<Access> {
    const { consumer, contract } = intent;
    for (;;) {
      const begun = await this.#mutex.run(accountOf(contract.contractId, consumer), () => this.#begin(intent));
      if ("settled" in begun) return begun.settled;
      if (begun.blocking === undefined) throw refusal(ErrorReason.ACCESS_TIMES_EXHAUSTED, contract.contractId);
      // The last number is out, but it may come back: what became of it decides.
      await this.#awaitOutcome(begun.blocking);
    }
  }

  /** Finishes or voids what an earlier run left open (start of the management). */
  async reconcile(): Promise<Reconciliation> {
    const result = { finished: 0, voided: 0, open: 0 };
    for (const key of await this.#open.keys().all()) {
      const access = await this.#read(key.slice(key.lastIndexOf("/") + 1));
      if (access === undefined) continue;
      const outcome = await this.#settle(access, false).then(
        () => "finished" as const,
        async () => ((await this.#open.get(key)) === undefined ? ("voided" as const) : ("open" as const)),
      );
      result[outcome]++;
    }
    return result;
  }

  /** A page of a consumer's final accesses in the order of the ledger; `after` and `next` are opaque. */
  async page(
    consumer: string,
    options: { readonly after: string; readonly limit: number; readonly accept: (access: Access) => boolean },
  ): Promise<{ accesses: Access[]; next: string }> {
    const { after, limit, accept } = options;
    const accesses: Access[] = [];
    let last = after;
    let bytes = 0;
    for await (const [key, accessId] of this.#ofConsumer.iterator({ gt: `${consumer}/${after}`, lt: `${consumer}0` })) {
      const access = await this.#read(accessId);
      if (access === undefined || !accept(access)) continue;
      if (accesses.length === limit || bytes > PAGE_BYTES) return { accesses, next: last };
      accesses.push(access);
      bytes += toBinary(AccessRecordSchema, recordOf(access)).length;
      last = key.slice(consumer.length + 1);
    }
    return { accesses, next: "" };
  }

  /** Changes what a consumer may change about its record (C9). */
  async annotate(access: Access, changes: { readonly note: string; readonly archived: boolean }): Promise<Access> {
    // A final access changes in nothing else, so there is no later state to lose; of two changes at once the later one holds.
    const evidence = withRecord(access, { ...recordOf(access), ...changes });
    await commit(this.#store, [
      put(this.#evidence, access.accessId, toBinary(GetAccessRecordResponseSchema, evidence)),
    ]);
    return { ...access, evidence };
  }

  /**
   * Under the lock of the account: a number, and the durable intent. Where all numbers are out, an access that may still give its number
   * back, if there is one: looked up under the same lock, lest it comes back in between and nobody is said to have it.
   */
  async #begin(intent: AccessIntent): Promise<{ settled: Promise<Access> } | { blocking: Access | undefined }> {
    const { accessId, contract, consumer, fingerprint } = intent;
    const known = await this.#read(accessId);
    if (known !== undefined) return { settled: isFinal(known) ? Promise.resolve(known) : this.#settle(known, false) };
    const account = accountOf(contract.contractId, consumer);
    const { number, tally } = allot((await this.#tallies.get(account)) ?? noTally);
    const accessTimes = contract.accessPermission?.accessTimes ?? Number.POSITIVE_INFINITY;
    if (number > accessTimes) return { blocking: (await this.#openOf(contract.contractId, consumer))[0] };
    const { evidence, transaction } = this.#prepare(intent, number);
    const entry = { contractId: contract.contractId, consumer, accessNumber: number, fingerprint };
    await commit(this.#store, [
      put(this.#entries, accessId, entry),
      put(this.#evidence, accessId, toBinary(GetAccessRecordResponseSchema, evidence)),
      put(this.#open, openKey(entry, accessId), transaction),
      put(this.#tallies, account, tally),
    ]);
    return { settled: this.#settle({ accessId, ...entry, evidence }, true) };
  }

  #prepare(intent: AccessIntent, accessNumber: number): { evidence: GetAccessRecordResponse; transaction: Uint8Array } {
    const { accessId, contract, consumer, purpose, request } = intent;
    const record = create(AccessRecordSchema, {
      accessId,
      contractAddress: contract.contractAddress,
      consumerIdentity: consumer,
      accessNumber,
      accessedAt: timestampFromDate(this.#now()),
      purpose,
    });
    const commitments = [
      commitTo("access-request", request.payload),
      commitTo("record", toBinary(AccessRecordSchema, record)),
    ];
    const transaction = signTransaction(
      this.#signer,
      this.#engine.info.networkId,
      {
        case: "recordAccess",
        value: {
          $typeName: "x1410.v1.RecordAccess",
          accessId,
          contractId: contract.contractId,
          consumerPseudonym: consumerPseudonym(contract.salt, consumer),
          commitments: commitments.map(({ commitment }) => commitment),
        },
      },
      this.#now(),
    ).envelope;
    const openings = commitments.map(({ opening }) => opening);
    return { evidence: create(GetAccessRecordResponseSchema, { record, openings }), transaction };
  }

  /** Brings an open access to its end; whoever waits for the same one shares the attempt. */
  #settle(access: Access, fresh: boolean): Promise<Access> {
    const running = this.#settling.get(access.accessId);
    if (running !== undefined) return running;
    const attempt = this.#settleOnce(access, fresh).finally(() => this.#settling.delete(access.accessId));
    this.#settling.set(access.accessId, attempt);
    return attempt;
  }

  /** `fresh`: these bytes have never been submitted before, so "nothing recorded" is said of all attempts there were. */
  async #settleOnce(access: Access, fresh: boolean): Promise<Access> {
    const { accessId } = access;
    const transaction = await this.#open.get(openKey(access, accessId));
    if (transaction === undefined) {
      // Somebody else brought it to its end between reading and asking.
      const settled = await this.#read(accessId);
      if (settled === undefined) throw refusal(ErrorReason.LEDGER_UNAVAILABLE, "ledger");
      return settled;
    }
    let verdict: Awaited<ReturnType<typeof submitTransaction>>;
    try {
      verdict = await submitTransaction(this.#engine, transaction);
    } catch (cause) {
      if (!fresh || reasonOf(cause) !== ErrorReason.LEDGER_UNAVAILABLE)
        throw refusal(ErrorReason.OUTCOME_UNKNOWN, accessId);
      await this.#void(access);
      throw cause;
    }
    if (!verdict.accepted) {
      await this.#void(access);
      throw refusal(refusalOfRejection.get(verdict.rejection) ?? ErrorReason.INTERNAL_FAULT, access.contractId);
    }
    const { receipt, proof } = verdict;
    const evidence = { ...withRecord(access, { ...recordOf(access), receipt }), proof };
    const place = `${hex(receipt.blockHeight)}${hex(BigInt(receipt.index))}`;
    await commit(this.#store, [
      put(this.#evidence, accessId, toBinary(GetAccessRecordResponseSchema, evidence)),
      put(this.#ofConsumer, `${access.consumer}/${place}`, accessId),
      remove(this.#open, openKey(access, accessId)),
    ]);
    return { ...access, evidence };
  }

  /** The access did not come about: its number goes back. */
  async #void(access: Access): Promise<void> {
    const account = accountOf(access.contractId, access.consumer);
    await this.#mutex.run(account, async () => {
      const tally = giveBack((await this.#tallies.get(account)) ?? noTally, access.accessNumber);
      const changes: Change[] = [
        remove(this.#entries, access.accessId),
        remove(this.#evidence, access.accessId),
        remove(this.#open, openKey(access, access.accessId)),
        put(this.#tallies, account, tally),
      ];
      await commit(this.#store, changes);
    });
  }

  async #awaitOutcome(blocking: Access): Promise<void> {
    try {
      await this.#settle(blocking, false);
    } catch {
      // Refused for good, its number is free; still open, nobody can tell whether one is left.
      if ((await this.#open.get(openKey(blocking, blocking.accessId))) === undefined) return;
      throw refusal(ErrorReason.LEDGER_UNAVAILABLE, "ledger");
    }
  }

  async #openOf(contractId: string, consumer: string): Promise<Access[]> {
    const prefix = accountOf(contractId, consumer);
    const keys = await this.#open.keys({ gt: `${prefix}/`, lt: `${prefix}0` }).all();
    const accesses = await Promise.all(keys.map((key) => this.#read(key.slice(prefix.length + 1))));
    return accesses.filter((access) => access !== undefined);
  }

  async #read(accessId: string): Promise<Access | undefined> {
    const [entry, evidence] = await Promise.all([this.#entries.get(accessId), this.#evidence.get(accessId)]);
    if (entry === undefined || evidence === undefined) return undefined;
    return { accessId, ...entry, evidence: fromBinary(GetAccessRecordResponseSchema, evidence) };
  }
}

/** The record of an access. */
export function recordOf({ evidence, accessId }: Access): AccessRecord {
  if (evidence.record === undefined) throw new TypeError(`access ${accessId} has no record`);
  return evidence.record;
}

function withRecord({ evidence }: Access, record: AccessRecord): GetAccessRecordResponse {
  return { ...evidence, record };
}

function isFinal({ evidence }: Access): boolean {
  return evidence.proof !== undefined;
}

function allot({ next, freed }: Tally): { number: number; tally: Tally } {
  const [first, ...rest] = freed;
  return first === undefined
    ? { number: next, tally: { next: next + 1, freed } }
    : { number: first, tally: { next, freed: rest } };
}

function giveBack({ next, freed }: Tally, number: number): Tally {
  return number === next - 1 ? { next: number, freed } : { next, freed: [...freed, number].sort((a, b) => a - b) };
}

function accountOf(contractId: string, consumer: string): string {
  return `${contractId}/${consumer}`;
}

function openKey(access: { readonly contractId: string; readonly consumer: string }, accessId: string): string {
  return `${accountOf(access.contractId, access.consumer)}/${accessId}`;
}

function hex(place: bigint): string {
  return place.toString(16).padStart(16, "0");
}
