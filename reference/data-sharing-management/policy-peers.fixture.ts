// For tests of policy management: the entities around it in memory, a ledger with the contract rules and storage servers that fail where a
// test says so.
import { createHash } from "node:crypto";
import { create, fromBinary } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { DataStorageService, PackageState } from "../../gen/x1410/v1/data_storage_pb.ts";
import { SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyState, KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import {
  Finality,
  InclusionProofSchema,
  RejectionReason,
  type Transaction,
  TransactionOutcome,
  type TransactionReceipt,
  TransactionReceiptSchema,
  TransactionSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import { refusal } from "../communications/refusal.ts";
import { implement } from "../communications/service.ts";
import type { Committed, LedgerEngine } from "../ledger/engine.ts";

export const MANAGEMENT = "urn:x1410:entity:dssm:one";

/** What becomes of the next submission. */
export type LedgerFailure = "unavailable" | "lost";

/** The contract rules of policies, in memory. */
export class MemoryLedger implements LedgerEngine {
  readonly info = {
    engine: "memory",
    networkId: "net",
    faultModel: "none",
    finality: "instant",
    maxBatch: 100,
    maxTransactionBytes: 65_536,
  } as const;
  readonly committed = new Map<string, Committed>();
  readonly transactions: Transaction[] = [];
  readonly failures: LedgerFailure[] = [];
  /** Every envelope that arrived, recorded or not. */
  readonly submitted: Uint8Array[] = [];

  async submit(envelopes: readonly Uint8Array[]): Promise<TransactionReceipt[]> {
    return envelopes.map((envelope) => {
      this.submitted.push(envelope);
      const failure = this.failures.shift();
      if (failure === "unavailable") throw refusal(ErrorReason.LEDGER_UNAVAILABLE);
      const receipt = this.#take(envelope);
      if (failure === "lost") throw new ConnectError("deadline", Code.DeadlineExceeded);
      return receipt;
    });
  }

  #take(envelope: Uint8Array): TransactionReceipt {
    const { payload } = fromBinary(SignedEnvelopeSchema, envelope);
    const transactionId = createHash("sha256").update(payload).digest("hex");
    const first = this.committed.get(transactionId);
    if (first !== undefined) return first.receipt;
    const transaction = fromBinary(TransactionSchema, payload);
    const rejection = this.#rejection(transaction);
    if (rejection !== undefined) {
      return create(TransactionReceiptSchema, { transactionId, outcome: TransactionOutcome.REJECTED, rejection });
    }
    this.transactions.push(transaction);
    const receipt = create(TransactionReceiptSchema, {
      transactionId,
      outcome: TransactionOutcome.ACCEPTED,
      blockHeight: BigInt(this.transactions.length),
      finality: Finality.FINAL,
    });
    const proof = create(InclusionProofSchema, { transaction: envelope });
    this.committed.set(transactionId, { transactionId, envelope, receipt, proof, cursor: "" });
    return receipt;
  }

  #rejection({ action }: Transaction): RejectionReason | undefined {
    const of = (id: string) =>
      this.transactions.filter(
        ({ action: known }) => known.case !== undefined && "contractId" in known.value && known.value.contractId === id,
      );
    switch (action.case) {
      case "createContract":
        return of(action.value.contractId).length > 0 ? RejectionReason.DUPLICATE_ID : undefined;
      case "updateContract":
        return BigInt(of(action.value.contractId).length) + 1n === action.value.version
          ? undefined
          : RejectionReason.VERSION_STALE;
      case "withdrawContract":
        return of(action.value.contractId).length > 0 ? undefined : RejectionReason.UNKNOWN_CONTRACT;
      default:
        return RejectionReason.MALFORMED;
    }
  }

  async get(transactionId: string): Promise<Committed | undefined> {
    return this.committed.get(transactionId);
  }

  contract(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  // biome-ignore lint/correctness/useYield: policy management never subscribes
  async *subscribe(): AsyncIterable<Committed> {
    throw new TypeError("not for these tests");
  }

  head(): Promise<never> {
    return Promise.reject(new TypeError("not for these tests"));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** A key, or a package, as its server keeps it. */
export interface StoredObject {
  owner: string;
  management: string;
  stored: boolean;
  inUse: boolean;
  size: bigint;
  sha256: Uint8Array;
}

/** One key storage server and one data storage server of the network, both named "one". */
export class MemoryStorage {
  readonly objects = new Map<string, StoredObject>();
  /** Method names, in the order of the calls. */
  readonly calls: string[] = [];
  down = false;

  #object(id: string, absent: ErrorReason): StoredObject {
    if (this.down) throw new ConnectError("connection refused", Code.Unavailable);
    const object = this.objects.get(id);
    if (object === undefined) throw refusal(absent);
    return object;
  }

  readonly #keys = bindDirect(
    implement(KeyStorageService, {
      getKeyStatus: ({ keyId }) => {
        this.calls.push("getKeyStatus");
        const { owner, management, stored, inUse } = this.#object(keyId, ErrorReason.KEY_NOT_FOUND);
        const state = stored ? KeyState.STORED : KeyState.REGISTERED;
        return { state, ownerIdentity: owner, managementIdentity: management, inUse };
      },
      setKeyUse: ({ keyId, inUse }) => {
        this.calls.push("setKeyUse");
        const object = this.#object(keyId, ErrorReason.KEY_NOT_FOUND);
        if (!object.stored) throw refusal(ErrorReason.KEY_NOT_STORED);
        object.inUse = inUse;
        return {};
      },
    }),
    { peer: directPeer(MANAGEMENT) },
  );

  readonly #data = bindDirect(
    implement(DataStorageService, {
      getPackageStatus: ({ packageId }) => {
        this.calls.push("getPackageStatus");
        const { owner, management, stored, inUse, size, sha256 } = this.#object(
          packageId,
          ErrorReason.PACKAGE_NOT_FOUND,
        );
        const state = stored ? PackageState.STORED : PackageState.REGISTERED;
        return { state, ownerIdentity: owner, managementIdentity: management, inUse, size, sha256 };
      },
      setPackageUse: ({ packageId, inUse }) => {
        this.calls.push("setPackageUse");
        const object = this.#object(packageId, ErrorReason.PACKAGE_NOT_FOUND);
        if (!object.stored) throw refusal(ErrorReason.PACKAGE_NOT_STORED);
        object.inUse = inUse;
        return {};
      },
    }),
    { peer: directPeer(MANAGEMENT) },
  );

  keyServer(identity: string): Client<typeof KeyStorageService> | undefined {
    return identity === "urn:x1410:entity:kss:one" ? this.#keys : undefined;
  }

  dataServer(identity: string): Client<typeof DataStorageService> | undefined {
    return identity === "urn:x1410:entity:dss:one" ? this.#data : undefined;
  }
}
