// Policies as policy management keeps them (DSPM5, clause 6.2.2), off-chain: the provider's signed messages, where each policy stands, and
// what is under way on the ledger, so that a restart goes on with the identical bytes.
import { createHash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type AccessPermission,
  type DataSharingInformation,
  type DataSharingPolicy,
  PolicyState,
  PolicySubmissionSchema,
  PolicyUpdateSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { PendingStorage } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import {
  type CommitmentOpening,
  CommitmentOpeningSchema,
  type InclusionProof,
  InclusionProofSchema,
  type TransactionReceipt,
  TransactionReceiptSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { payloadTypeOf } from "../envelope/sign.ts";
import {
  type Change,
  commit,
  jsonTable,
  put,
  remove,
  type Store,
  type Table,
  textTable,
} from "../store/durable-batch.ts";
import { orderedKey } from "./event-log.ts";

/** What a provider has signed of one version, opened. */
export interface Terms {
  /** The signed submission or update. */
  readonly signedPolicy: SignedEnvelope;
  readonly information: DataSharingInformation;
  readonly policy: DataSharingPolicy;
  /** Absent in Annex A. */
  readonly accessPermission: AccessPermission | undefined;
  /** Of the commitments on the ledger. */
  readonly openings: readonly CommitmentOpening[];
}

/** A transaction that is to be recorded. Its bytes are made once; a retry submits the same. */
export interface LedgerChange {
  readonly kind: "create" | "update" | "withdraw";
  /** Serialised SignedEnvelope. */
  readonly transaction: Uint8Array;
  /** The provider's signed update or withdrawal; of a creation it is in the entry's terms. */
  readonly signed?: SignedEnvelope;
  readonly openings?: readonly CommitmentOpening[];
}

export interface PolicyEntry {
  readonly policyId: string;
  readonly provider: string;
  /** Place in the order of the provider's submissions. */
  readonly number: bigint;
  readonly submittedAt: Date;
  readonly state: PolicyState;
  readonly pending: readonly PendingStorage[];
  readonly terms: Terms;
  /** 32 random bytes; the key of consumers' pseudonyms on the ledger. */
  readonly salt: Uint8Array;
  readonly contractAddress: string;
  /** Where the ledger holds the latest version, and the evidence; absent until it does. */
  readonly receipt?: TransactionReceipt;
  readonly proof?: InclusionProof;
  readonly change?: LedgerChange;
  /** The signed withdrawal, once it is recorded. */
  readonly withdrawal?: SignedEnvelope;
  /** False while something of F3.8 to F3.9 is left to do without anybody's asking. */
  readonly finished: boolean;
}

interface StoredChange {
  readonly kind: LedgerChange["kind"];
  readonly transaction: string;
  readonly signed?: string;
  readonly openings?: readonly string[];
}

interface StoredPolicy {
  readonly policyId: string;
  readonly provider: string;
  readonly number: string;
  /** Milliseconds since 1970. */
  readonly submittedAt: number;
  readonly state: PolicyState;
  readonly pending: readonly PendingStorage[];
  readonly signedPolicy: string;
  readonly openings: readonly string[];
  readonly salt: string;
  readonly contractAddress: string;
  readonly receipt?: string;
  readonly proof?: string;
  readonly change?: StoredChange;
  readonly withdrawal?: string;
  readonly finished: boolean;
}

export class PolicyStore {
  readonly #store: Store;
  readonly #policies: Table<StoredPolicy>;
  /** By provider and number. */
  readonly #ofProvider: Table<string>;
  readonly #unfinished: Table<string>;
  /** By storage address and policy: who needs an object that is stored elsewhere. */
  readonly #uses: Table<string>;

  constructor(store: Store) {
    this.#store = store;
    this.#policies = jsonTable(store, "policies");
    this.#ofProvider = textTable(store, "policies-of-provider");
    this.#unfinished = textTable(store, "unfinished");
    this.#uses = textTable(store, "uses");
  }

  async get(policyId: string): Promise<PolicyEntry | undefined> {
    const stored = await this.#policies.get(policyId);
    return stored === undefined ? undefined : opened(stored);
  }

  /** Saves an entry, and `changes` with it. */
  async save(entry: PolicyEntry, changes: readonly Change[] = []): Promise<PolicyEntry> {
    const { policyId, provider, number, finished } = entry;
    const { keyAddress, packageAddress } = entry.terms.information;
    const uses = [useKey(keyAddress, policyId), useKey(packageAddress, policyId)];
    await commit(this.#store, [
      put(this.#policies, policyId, stored(entry)),
      put(this.#ofProvider, ofProviderKey(provider, number), policyId),
      finished ? remove(this.#unfinished, policyId) : put(this.#unfinished, policyId, ""),
      ...uses.map((key) => (needsObjects(entry) ? put(this.#uses, key, "") : remove(this.#uses, key))),
      ...changes,
    ]);
    return entry;
  }

  /** Forgets a policy that the ledger refused. */
  async remove({ policyId, provider, number, terms }: PolicyEntry): Promise<void> {
    await commit(this.#store, [
      remove(this.#policies, policyId),
      remove(this.#ofProvider, ofProviderKey(provider, number)),
      remove(this.#unfinished, policyId),
      remove(this.#uses, useKey(terms.information.keyAddress, policyId)),
      remove(this.#uses, useKey(terms.information.packageAddress, policyId)),
    ]);
  }

  async nextNumber(provider: string): Promise<bigint> {
    const [last] = await this.#ofProvider.keys({ ...rangeOf(provider), reverse: true, limit: 1 }).all();
    return last === undefined ? 1n : BigInt(`0x${last.slice(provider.length + 1)}`) + 1n;
  }

  /** A provider's policies after a number, in the order of submission, read as they are asked for. */
  async *ofProvider(provider: string, after: bigint): AsyncGenerator<PolicyEntry> {
    const range = { gt: ofProviderKey(provider, after), lt: rangeOf(provider).lt };
    for await (const policyId of this.#ofProvider.values(range)) {
      const entry = await this.get(policyId);
      if (entry !== undefined) yield entry;
    }
  }

  unfinished(): Promise<string[]> {
    return this.#unfinished.keys().all();
  }

  /** Whether another live policy needs the object at `address`. */
  async usedByOthers(address: string, policyId: string): Promise<boolean> {
    const keys = await this.#uses.keys({ gt: `${address} `, lt: `${address}!`, limit: 2 }).all();
    return keys.some((key) => key !== useKey(address, policyId));
  }
}

/** SHA-256 of signed bytes, by which a message is known again. */
export function digestOf(signed: SignedEnvelope | undefined): string {
  return signed === undefined ? "" : createHash("sha256").update(signed.payload).digest("hex");
}

/** Opens the provider's signed bytes; they were verified when they came. */
export function termsOf(signedPolicy: SignedEnvelope, openings: readonly CommitmentOpening[]): Terms {
  const update = signedPolicy.payloadType === payloadTypeOf(PolicyUpdateSchema);
  const { information, policy, accessPermission } = update
    ? fromBinary(PolicyUpdateSchema, signedPolicy.payload)
    : fromBinary(PolicySubmissionSchema, signedPolicy.payload);
  if (information === undefined || policy === undefined) throw new TypeError("a signed policy lacks its parts");
  return { signedPolicy, information, policy, accessPermission, openings };
}

function needsObjects({ state, finished }: PolicyEntry): boolean {
  if (state === PolicyState.WITHDRAWN) return !finished;
  return state !== PolicyState.AWAITING_STORAGE;
}

function stored(entry: PolicyEntry): StoredPolicy {
  const { policyId, provider, state, pending, contractAddress, finished, receipt, proof, change, withdrawal } = entry;
  return {
    policyId,
    provider,
    number: entry.number.toString(),
    submittedAt: entry.submittedAt.getTime(),
    state,
    pending,
    signedPolicy: base64(toBinary(SignedEnvelopeSchema, entry.terms.signedPolicy)),
    openings: entry.terms.openings.map(openingText),
    salt: base64(entry.salt),
    contractAddress,
    finished,
    ...(receipt === undefined ? {} : { receipt: base64(toBinary(TransactionReceiptSchema, receipt)) }),
    ...(proof === undefined ? {} : { proof: base64(toBinary(InclusionProofSchema, proof)) }),
    ...(change === undefined ? {} : { change: storedChange(change) }),
    ...(withdrawal === undefined ? {} : { withdrawal: base64(toBinary(SignedEnvelopeSchema, withdrawal)) }),
  };
}

function storedChange({ kind, transaction, signed, openings }: LedgerChange): StoredChange {
  return {
    kind,
    transaction: base64(transaction),
    ...(signed === undefined ? {} : { signed: base64(toBinary(SignedEnvelopeSchema, signed)) }),
    ...(openings === undefined ? {} : { openings: openings.map(openingText) }),
  };
}

function opened(stored: StoredPolicy): PolicyEntry {
  const { policyId, provider, state, pending, contractAddress, finished, receipt, proof, change, withdrawal } = stored;
  return {
    policyId,
    provider,
    number: BigInt(stored.number),
    submittedAt: new Date(stored.submittedAt),
    state,
    pending,
    terms: termsOf(fromBinary(SignedEnvelopeSchema, bytes(stored.signedPolicy)), stored.openings.map(openingOf)),
    salt: bytes(stored.salt),
    contractAddress,
    finished,
    ...(receipt === undefined ? {} : { receipt: fromBinary(TransactionReceiptSchema, bytes(receipt)) }),
    ...(proof === undefined ? {} : { proof: fromBinary(InclusionProofSchema, bytes(proof)) }),
    ...(change === undefined ? {} : { change: openedChange(change) }),
    ...(withdrawal === undefined ? {} : { withdrawal: fromBinary(SignedEnvelopeSchema, bytes(withdrawal)) }),
  };
}

function openedChange({ kind, transaction, signed, openings }: StoredChange): LedgerChange {
  return {
    kind,
    transaction: bytes(transaction),
    ...(signed === undefined ? {} : { signed: fromBinary(SignedEnvelopeSchema, bytes(signed)) }),
    ...(openings === undefined ? {} : { openings: openings.map(openingOf) }),
  };
}

function openingText(opening: CommitmentOpening): string {
  return base64(toBinary(CommitmentOpeningSchema, create(CommitmentOpeningSchema, opening)));
}

function openingOf(text: string): CommitmentOpening {
  return fromBinary(CommitmentOpeningSchema, bytes(text));
}

function ofProviderKey(provider: string, number: bigint): string {
  return `${provider} ${orderedKey(number)}`;
}

function rangeOf(provider: string) {
  return { gt: `${provider} `, lt: `${provider}!` };
}

function useKey(address: string, policyId: string): string {
  return `${address} ${policyId}`;
}

function base64(value: Uint8Array): string {
  return Buffer.from(value).toString("base64");
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}
