// Usage record (UR1, UR2, clause 7.2.4): what was given out and what was done with it, each entry based on the requested permission.
import { randomBytes } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  UsageKind,
  type UsageRecord,
  UsageRecordSchema,
  type UsageReport,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { CommitmentOpeningSchema, RejectionReason } from "../../gen/x1410/v1/ledger_pb.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import { SKEW_MS } from "../envelope/signed-request.ts";
import type { Signer } from "../envelope/signer.ts";
import { commit as commitTo } from "../ledger/commitment.ts";
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
import { type Access, PAGE_BYTES, type Reconciliation, recordOf } from "./access-records.ts";
import { submitTransaction } from "./dlt-transaction.ts";

/** A report that has been verified, on an access that is the reporter's. */
export interface UsageIntent {
  /** Made by `idForRequest`, so that the same signed bytes are the same usage. */
  readonly usageId: string;
  readonly access: Access;
  readonly report: UsageReport;
}

/** What has been recorded about an access so far: the places of the records. */
interface UsageState {
  readonly granted: string;
  /** Milliseconds since 1970, as reported. */
  readonly openedAt?: number;
  readonly closedAt?: number;
}

/** A reported usage on its way to the ledger. */
interface OpenUsage {
  readonly contractId: string;
  /** Base64 of the UsageRecord, of its CommitmentOpening and of the transaction's envelope. */
  readonly record: string;
  readonly opening: string;
  readonly transaction: string;
}

export class UsageRecords {
  readonly #store: Store;
  readonly #signer: Signer;
  readonly #engine: LedgerEngine;
  readonly #now: () => Date;
  /** By contract and time. */
  readonly #records: Table<Uint8Array>;
  /** By contract, consumer and time: the place in #records. */
  readonly #ofConsumer: Table<string>;
  readonly #places: Table<string>;
  /** Openings of the commitments on the ledger, by usage id. */
  readonly #openings: Table<Uint8Array>;
  readonly #states: Table<UsageState>;
  /** By access and usage id. */
  readonly #open: Table<OpenUsage>;
  readonly #mutex = new KeyedMutex();
  /** Keeps records of one millisecond in their order. */
  #sequence = 0;

  constructor(options: { store: Store; signer: Signer; engine: LedgerEngine; now: () => Date }) {
    this.#store = options.store;
    this.#signer = options.signer;
    this.#engine = options.engine;
    this.#now = options.now;
    this.#records = messageTable(options.store, "usages");
    this.#ofConsumer = textTable(options.store, "usages-of-consumer");
    this.#places = textTable(options.store, "usage-places");
    this.#openings = messageTable(options.store, "usage-openings");
    this.#states = jsonTable(options.store, "usage-states");
    this.#open = jsonTable(options.store, "open-usages");
  }

  /**
   * Records that token and requested permission are given out (F4.11), durably and once for each access. On the ledger the access itself
   * stands for it.
   */
  grant(access: Access, requestedPermission: SignedEnvelope | undefined): Promise<void> {
    return this.#mutex.run(access.accessId, async () => {
      if ((await this.#states.get(access.accessId)) !== undefined) return;
      const at = timestampFromDate(this.#now());
      const record = create(UsageRecordSchema, {
        usageId: randomBytes(16).toString("hex"),
        accessId: access.accessId,
        contractAddress: recordOf(access).contractAddress,
        kind: UsageKind.GRANTED,
        consumerIdentity: access.consumer,
        occurredAt: at,
        recordedAt: at,
        ...(requestedPermission === undefined ? {} : { requestedPermission }),
      });
      const { place, changes } = this.#entry(access.contractId, record);
      await commit(this.#store, [...changes, put(this.#states, access.accessId, { granted: place })]);
    });
  }

  /**
   * Records a reported usage and commits to it on the ledger.
   * @throws ConnectError USAGE_INVALID where it contradicts what is recorded; LEDGER_UNAVAILABLE, OUTCOME_UNKNOWN: the same report again
   */
  report(intent: UsageIntent): Promise<UsageRecord> {
    const { usageId, access, report } = intent;
    return this.#mutex.run(access.accessId, async () => {
      // What an earlier attempt left open comes first: it may be this very report, and it decides what may follow.
      await this.#settleOpen(access.accessId);
      const known = await this.#recorded(usageId);
      if (known !== undefined) return known;
      const state = await this.#states.get(access.accessId);
      const granted = state === undefined ? undefined : await this.#records.get(state.granted);
      if (state === undefined || granted === undefined) throw refusal(ErrorReason.USAGE_INVALID, "access_id");
      this.#assertConsistent(access, report, state);
      const { requestedPermission } = fromBinary(UsageRecordSchema, granted);
      const record = create(UsageRecordSchema, {
        usageId,
        accessId: access.accessId,
        contractAddress: recordOf(access).contractAddress,
        kind: report.kind,
        consumerIdentity: access.consumer,
        recordedAt: timestampFromDate(this.#now()),
        remark: report.remark,
        ...(report.occurredAt === undefined ? {} : { occurredAt: report.occurredAt }),
        ...(requestedPermission === undefined ? {} : { requestedPermission }),
      });
      const open = this.#prepare(access.contractId, record);
      const key = `${access.accessId}/${usageId}`;
      await commit(this.#store, [put(this.#open, key, open)]);
      return this.#settle(key, open, true);
    });
  }

  /** A page of the usage records of a contract, oldest first; of one consumer where `consumer` is given. */
  async page(
    contractId: string,
    options: { readonly consumer?: string; readonly after: string; readonly limit: number },
  ): Promise<{ records: UsageRecord[]; next: string }> {
    const { consumer, after, limit } = options;
    const prefix = consumer === undefined ? contractId : `${contractId}/${consumer}`;
    const range = { gt: `${prefix}/${after}`, lt: `${prefix}0` };
    const places = consumer === undefined ? this.#records.keys(range) : this.#ofConsumer.values(range);
    const records: UsageRecord[] = [];
    let last = after;
    let size = 0;
    for await (const place of places) {
      if (records.length === limit || size > PAGE_BYTES) return { records, next: last };
      const bytes = await this.#records.get(place);
      if (bytes === undefined) continue;
      records.push(fromBinary(UsageRecordSchema, bytes));
      size += bytes.length;
      last = place.slice(contractId.length + 1);
    }
    return { records, next: "" };
  }

  /** Finishes or voids what an earlier run left open (start of the management). */
  async reconcile(): Promise<Reconciliation> {
    const result = { finished: 0, voided: 0, open: 0 };
    for (const key of await this.#open.keys().all()) {
      const [accessId = "", usageId = ""] = key.split("/");
      await this.#mutex.run(accessId, () => this.#settleOpen(accessId)).catch(() => undefined);
      if ((await this.#open.get(key)) !== undefined) result.open++;
      else if ((await this.#recorded(usageId)) !== undefined) result.finished++;
      else result.voided++;
    }
    return result;
  }

  #assertConsistent(access: Access, { kind, occurredAt }: UsageReport, state: UsageState): void {
    const invalid = (subject: string) => refusal(ErrorReason.USAGE_INVALID, subject);
    const { accessedAt } = recordOf(access);
    if (occurredAt === undefined || accessedAt === undefined) throw invalid("occurred_at");
    const at = timestampDate(occurredAt).getTime();
    if (at < timestampDate(accessedAt).getTime() - SKEW_MS) throw invalid("occurred_at");
    if (at > this.#now().getTime() + SKEW_MS) throw invalid("occurred_at");
    switch (kind) {
      case UsageKind.OPENED:
        // Each grant allows one opening.
        if (state.openedAt !== undefined) throw invalid("kind");
        return;
      case UsageKind.CLOSED:
        if (state.openedAt === undefined || state.closedAt !== undefined) throw invalid("kind");
        if (at < state.openedAt) throw invalid("occurred_at");
        return;
      case UsageKind.REFUSED:
        return;
      default:
        throw invalid("kind");
    }
  }

  #prepare(contractId: string, record: UsageRecord): OpenUsage {
    const { commitment, opening } = commitTo("usage", toBinary(UsageRecordSchema, record));
    const { usageId, accessId } = record;
    const transaction = signTransaction(
      this.#signer,
      this.#engine.info.networkId,
      {
        case: "recordUsage",
        value: { $typeName: "x1410.v1.RecordUsage", usageId, accessId, commitments: [commitment] },
      },
      this.#now(),
    ).envelope;
    return {
      contractId,
      record: base64(opening.value),
      opening: base64(toBinary(CommitmentOpeningSchema, opening)),
      transaction: base64(transaction),
    };
  }

  async #settleOpen(accessId: string): Promise<void> {
    const open = await this.#open.iterator({ gt: `${accessId}/`, lt: `${accessId}0` }).all();
    for (const [key, usage] of open) {
      try {
        await this.#settle(key, usage, false);
      } catch (cause) {
        // Voided, it stands in nobody's way; still open, nothing can be said yet.
        if ((await this.#open.get(key)) !== undefined) throw cause;
      }
    }
  }

  /** `fresh`: these bytes have never been submitted before, so "nothing recorded" is said of all attempts there were. */
  async #settle(key: string, open: OpenUsage, fresh: boolean): Promise<UsageRecord> {
    let verdict: Awaited<ReturnType<typeof submitTransaction>>;
    try {
      verdict = await submitTransaction(this.#engine, Buffer.from(open.transaction, "base64"));
    } catch (cause) {
      if (!fresh || reasonOf(cause) !== ErrorReason.LEDGER_UNAVAILABLE) throw refusal(ErrorReason.OUTCOME_UNKNOWN, key);
      await commit(this.#store, [remove(this.#open, key)]);
      throw cause;
    }
    const record = fromBinary(UsageRecordSchema, Buffer.from(open.record, "base64"));
    if (!verdict.accepted) {
      await commit(this.#store, [remove(this.#open, key)]);
      const unknown = verdict.rejection === RejectionReason.UNKNOWN_ACCESS;
      throw refusal(unknown ? ErrorReason.ACCESS_RECORD_NOT_FOUND : ErrorReason.INTERNAL_FAULT, record.accessId);
    }
    const state = await this.#states.get(record.accessId);
    if (state === undefined) throw refusal(ErrorReason.USAGE_INVALID, "access_id");
    const { changes } = this.#entry(open.contractId, record);
    await commit(this.#store, [
      ...changes,
      put(this.#openings, record.usageId, Buffer.from(open.opening, "base64")),
      put(this.#states, record.accessId, { ...state, ...progress(record) }),
      remove(this.#open, key),
    ]);
    return record;
  }

  #entry(contractId: string, record: UsageRecord): { place: string; changes: Change[] } {
    const at = record.recordedAt === undefined ? 0 : timestampDate(record.recordedAt).getTime();
    const position = `${at.toString(16).padStart(12, "0")}${(this.#sequence++).toString(16).padStart(12, "0")}${record.usageId}`;
    const place = `${contractId}/${position}`;
    return {
      place,
      changes: [
        put(this.#records, place, toBinary(UsageRecordSchema, record)),
        put(this.#ofConsumer, `${contractId}/${record.consumerIdentity}/${position}`, place),
        put(this.#places, record.usageId, place),
      ],
    };
  }

  async #recorded(usageId: string): Promise<UsageRecord | undefined> {
    const place = await this.#places.get(usageId);
    const bytes = place === undefined ? undefined : await this.#records.get(place);
    return bytes === undefined ? undefined : fromBinary(UsageRecordSchema, bytes);
  }
}

function progress({ kind, occurredAt }: UsageRecord): Partial<UsageState> {
  const at = occurredAt === undefined ? 0 : timestampDate(occurredAt).getTime();
  if (kind === UsageKind.OPENED) return { openedAt: at };
  return kind === UsageKind.CLOSED ? { closedAt: at } : {};
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
