// For tests of access management: real certificates, signatures and stores, real token and permission management, and a ledger that applies
// the contract rules in memory and fails where a test says so.
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { Level } from "level";
import { expect } from "vitest";
import { createPki } from "../../certs/pki.ts";
import {
  type AccessRequest,
  AccessRequestSchema,
  DataSharingInformationSchema,
  DataSharingPolicySchema,
  PolicyState,
  type UsageKind,
  type UsageReport,
  UsageReportSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { GetPackageStatusResponseSchema } from "../../gen/x1410/v1/data_storage_pb.ts";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type Account, AccountSchema, type Entity, EntitySchema } from "../../gen/x1410/v1/identity_pb.ts";
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
import { peerKey } from "../communications/peer.ts";
import { reasonName, reasonOf, refusal } from "../communications/refusal.ts";
import { newContext, signMessage } from "../envelope/sign.ts";
import { createSigner, type Signer } from "../envelope/signer.ts";
import type { Committed, LedgerEngine } from "../ledger/engine.ts";
import { createAccessPermissionManagement } from "./access-permission.ts";
import { callAs } from "./component-call.fixture.ts";
import type { SharedContract } from "./contracts.ts";
import {
  createDataSharingAccess,
  type DataSharingAccess,
  type DataSharingAccessDependencies,
} from "./data-sharing-access.ts";
import type { SessionGate } from "./session-gate.ts";
import { openTokenKeys } from "./token-keys.ts";
import { createTokenManagement } from "./token-management.ts";

export const NETWORK = "net";
export const START = Date.parse("2026-11-20T00:00:00Z");
export const CONTRACT = "c".repeat(32);
export const CONTRACT_ADDRESS = `x1410://dlt.${NETWORK}/contracts/${CONTRACT}`;
export const PACKAGE_SIZE = 4711n;
export const PACKAGE_SHA256 = new Uint8Array(32).fill(5);
const MANAGEMENT = "urn:x1410:entity:dssm:main";
const KEY = "d".repeat(32);
const PACKAGE = "e".repeat(32);

/** What becomes of the next submission: refused before anything happens, or recorded while the answer is lost. */
export type LedgerFailure = "unavailable" | "lost";

/** The contract rules of one contract, in memory. */
export class MemoryLedger implements LedgerEngine {
  readonly info = {
    engine: "memory",
    networkId: NETWORK,
    faultModel: "none",
    finality: "instant",
    maxBatch: 100,
    maxTransactionBytes: 65_536,
  } as const;
  readonly committed = new Map<string, Committed>();
  readonly transactions: Transaction[] = [];
  readonly failures: LedgerFailure[] = [];
  /** Set by a test to hold submissions until it resolves. */
  gate: Promise<void> = Promise.resolve();
  rejectWith: RejectionReason | undefined;
  accessTimes = 0;

  async submit([envelope]: readonly Uint8Array[]): Promise<TransactionReceipt[]> {
    if (envelope === undefined) throw new TypeError("nothing to submit");
    await this.gate;
    const failure = this.failures.shift();
    if (failure === "unavailable") throw refusal(ErrorReason.LEDGER_UNAVAILABLE);
    const receipt = this.take(envelope);
    if (failure === "lost") throw new ConnectError("deadline", Code.DeadlineExceeded);
    return [receipt];
  }

  take(envelope: Uint8Array): TransactionReceipt {
    const { payload } = fromBinary(SignedEnvelopeSchema, envelope);
    const transactionId = createHash("sha256").update(payload).digest("hex");
    const first = this.committed.get(transactionId);
    if (first !== undefined) return first.receipt;
    const transaction = fromBinary(TransactionSchema, payload);
    const rejection = this.rejectWith ?? this.#rejection(transaction);
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
    const ids = this.transactions.map((known) =>
      known.action.case === "recordUsage" ? known.action.value.usageId : accessOf(known)?.accessId,
    );
    if (action.case === "recordUsage") {
      if (ids.includes(action.value.usageId)) return RejectionReason.DUPLICATE_ID;
      return ids.includes(action.value.accessId) ? undefined : RejectionReason.UNKNOWN_ACCESS;
    }
    if (action.case !== "recordAccess") return RejectionReason.MALFORMED;
    const { accessId, consumerPseudonym } = action.value;
    if (ids.includes(accessId)) return RejectionReason.DUPLICATE_ID;
    const used = this.accesses().filter((each) => Buffer.compare(each.consumerPseudonym, consumerPseudonym) === 0);
    const exhausted = this.accessTimes > 0 && used.length >= this.accessTimes;
    return exhausted ? RejectionReason.ACCESS_TIMES_EXHAUSTED : undefined;
  }

  accesses() {
    return this.transactions.map(accessOf).filter((access) => access !== undefined);
  }

  async get(transactionId: string): Promise<Committed | undefined> {
    return this.committed.get(transactionId);
  }

  contract(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  // biome-ignore lint/correctness/useYield: access management never subscribes
  async *subscribe(): AsyncIterable<Committed> {
    throw new TypeError("not for these tests");
  }

  head(): Promise<never> {
    return Promise.reject(new TypeError("not for these tests"));
  }

  async close(): Promise<void> {}
}

function accessOf({ action }: Transaction) {
  return action.case === "recordAccess" ? action.value : undefined;
}

export interface User {
  readonly signer: Signer;
  readonly identity: string;
  readonly fingerprint: string;
  readonly account: Account;
}

/** Certificates and keys, made once for a file of tests. */
export class Cast {
  readonly #directory = mkdtempSync(join(tmpdir(), "x1410-cast-"));
  readonly #pki = createPki(join(this.#directory, "pki"), { now: () => new Date(START) });
  readonly trust = this.#pki.verifier();
  readonly management = this.#server("dssm", MANAGEMENT);
  readonly keyServer = this.#server("kss", "urn:x1410:entity:kss:one");
  readonly ledgerNode = this.#server("ledger", "urn:x1410:entity:ledger:one");
  readonly dataServer = this.#server("dss", "urn:x1410:entity:dss:one");
  readonly #users = new Map(["provider", "consumer", "other"].map((name) => [name, this.#issue(name)]));

  /** A user with an account of its own, as verified. */
  user(name: "provider" | "consumer" | "other"): User {
    const material = this.#users.get(name) ?? this.#issue(name);
    const account = create(AccountSchema, {
      identity: material.identity,
      rights: { publish: true, access: true },
      attributes: { industries: ["isic:j61"], country: "FR" },
    });
    return { ...material, account };
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #server(role: "dssm" | "kss" | "dss" | "ledger", identity: string): Signer {
    const { privateKeyPem, chainPem } = this.#pki.issueIdentity({ role, identity });
    return createSigner({ privateKeyPem, certificateChainPem: chainPem });
  }

  #issue(name: string): Omit<User, "account"> {
    const identity = `urn:x1410:user:${name}`;
    const { privateKeyPem, chainPem, fingerprint } = this.#pki.issueIdentity({ role: "user", identity });
    return { signer: createSigner({ privateKeyPem, certificateChainPem: chainPem }), identity, fingerprint };
  }
}

/** A management with one contract, its provider and consumers. */
export class AccessWorld {
  readonly directory = mkdtempSync(join(tmpdir(), "x1410-access-"));
  time = START;
  readonly now = () => new Date(this.time);
  readonly cast: Cast;
  readonly provider: User;
  readonly consumer: User;
  readonly other: User;
  readonly contracts = new Map<string, SharedContract>();
  readonly entities = new Map<string, Entity>();
  readonly ledger = new MemoryLedger();
  /** The one that access management uses; a test may set another before `open`. */
  engine: LedgerEngine = this.ledger;
  /** Calls of token and permission management, data storage server; a failure is taken by the next call of the component named. */
  readonly calls: string[] = [];
  readonly failing = new Set<"createToken" | "createRequestedPermission" | "getPackageStatus">();
  level: Level<string, string> | undefined;
  access!: DataSharingAccess;

  constructor(cast: Cast) {
    this.cast = cast;
    this.provider = cast.user("provider");
    this.consumer = cast.user("consumer");
    this.other = cast.user("other");
  }

  async open(): Promise<void> {
    const level = new Level<string, string>(join(this.directory, "level"));
    this.level = level;
    const { now } = this;
    const keys = await openTokenKeys({ directory: join(this.directory, "keys"), now });
    const management = { identity: MANAGEMENT };
    const { registration: tokenService } = createTokenManagement({
      store: level.sublevel("tm"),
      keys,
      identity: MANAGEMENT,
      now,
    });
    const { registration: permissionService } = createAccessPermissionManagement({
      store: level.sublevel("apm"),
      signer: this.cast.management,
      now,
    });
    const tokens = callAs(tokenService, management);
    const permissions = callAs(permissionService, management);
    for (const { contractAddress, version, accessPermission } of this.contracts.values()) {
      if (accessPermission === undefined) continue;
      await permissions.storeAccessPermission({ contractAddress, policyVersion: version, accessPermission });
    }
    const dependencies: DataSharingAccessDependencies = {
      store: level.sublevel("dsam"),
      signer: this.cast.management,
      trust: this.cast.trust,
      gate: this.#gate(),
      contracts: { get: async (contractId) => this.contracts.get(contractId) },
      engine: this.engine,
      tokens: { createToken: this.#counted("createToken", tokens.createToken) },
      permissions: {
        createRequestedPermission: this.#counted("createRequestedPermission", permissions.createRequestedPermission),
      },
      entities: { find: (identity) => this.entities.get(identity) },
      storage: {
        dataServer: (identity) =>
          this.entities.has(identity)
            ? { getPackageStatus: this.#counted("getPackageStatus", packageStatus) }
            : undefined,
      },
      now,
    };
    this.access = createDataSharingAccess(dependencies);
  }

  /** As a crash and a new start do it: what is in memory is gone, what was acknowledged is there. */
  async restart(): Promise<void> {
    await this.level?.close();
    await this.open();
  }

  async close(): Promise<void> {
    await this.level?.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  publish(options: { accessTimes?: number; change?: (contract: SharedContract) => SharedContract } = {}): void {
    const { accessTimes, change } = options;
    for (const { identity, certificate } of [this.cast.keyServer, this.cast.dataServer]) {
      this.entities.set(identity, create(EntitySchema, { identity, endpoint: "127.0.0.1:1", certificate }));
    }
    const objects = {
      keyId: KEY,
      keyAddress: `x1410://kss.one/keys/${KEY}`,
      packageId: PACKAGE,
      packageAddress: `x1410://dss.one/packages/${PACKAGE}`,
    };
    const contract: SharedContract = {
      contractId: CONTRACT,
      contractAddress: CONTRACT_ADDRESS,
      state: PolicyState.PUBLISHED,
      version: 1n,
      information: create(DataSharingInformationSchema, {
        providerIdentity: this.provider.identity,
        providerPublicKey: this.provider.signer.publicKey,
        ...objects,
        attributes: { category: "subscriber-records" },
        encryptedData: { sha256: PACKAGE_SHA256, size: PACKAGE_SIZE, commitment: new Uint8Array(32) },
      }),
      policy: create(DataSharingPolicySchema, { policyId: CONTRACT, version: 1n, managementIdentity: MANAGEMENT }),
      accessPermission:
        accessTimes === undefined
          ? undefined
          : {
              $typeName: "x1410.v1.AccessPermission",
              accessTimes,
              expiration: timestampFromMs(START + 86_400_000),
              readOnly: true,
              ...objects,
            },
      signedPolicy: create(SignedEnvelopeSchema, { payload: new Uint8Array([1]), payloadType: "test" }),
      salt: new Uint8Array(32).fill(9),
      openings: [],
    };
    this.contracts.set(CONTRACT, change?.(contract) ?? contract);
    this.ledger.accessTimes = accessTimes ?? 0;
  }

  as(user: User, headers: Record<string, string> = { "x1410-session": "session" }) {
    const { identity, fingerprint } = user;
    return callAs(this.access.registration, { identity, fingerprint, headers });
  }

  /** A signed access request of `user`, right in everything but for what `change` does to it. */
  request(user: User, change: (message: AccessRequest) => void = () => undefined): SignedEnvelope {
    const message = create(AccessRequestSchema, {
      context: newContext(user.signer, MANAGEMENT, this.now()),
      consumer: { identity: user.identity, publicKey: user.signer.publicKey },
      sharedData: {
        providerIdentity: this.provider.identity,
        providerPublicKey: this.provider.signer.publicKey,
        packageId: PACKAGE,
        keyId: KEY,
      },
      contractAddress: CONTRACT_ADDRESS,
      purpose: "statistics",
    });
    change(message);
    return signMessage(user.signer, AccessRequestSchema, message);
  }

  report(user: User, accessId: string, kind: UsageKind, change: (message: UsageReport) => void = () => undefined) {
    const message = create(UsageReportSchema, {
      context: newContext(user.signer, MANAGEMENT, this.now()),
      accessId,
      kind,
      occurredAt: timestampFromMs(this.time),
    });
    change(message);
    return signMessage(user.signer, UsageReportSchema, message);
  }

  #counted<A extends unknown[], R>(
    name: "createToken" | "createRequestedPermission" | "getPackageStatus",
    call: (...given: A) => Promise<R>,
  ) {
    return (...given: A): Promise<R> => {
      this.calls.push(name);
      return this.failing.delete(name) ? Promise.reject(new ConnectError("down", Code.Unavailable)) : call(...given);
    };
  }

  /** Sessions have tests of their own; here the header is the session. */
  #gate(): SessionGate {
    const users = new Map([this.provider, this.consumer, this.other].map((user) => [user.identity, user]));
    return {
      async require(context, right) {
        const { identity, fingerprint } = context.values.get(peerKey);
        const user = users.get(identity);
        if (context.requestHeader.get("x1410-session") === null) throw refusal(ErrorReason.SESSION_REQUIRED);
        if (user === undefined) throw refusal(ErrorReason.SESSION_INVALID);
        if (right !== undefined && user.account.rights?.[right] !== true)
          throw refusal(ErrorReason.RIGHT_MISSING, right);
        return { account: user.account, identity, fingerprint };
      },
    };
  }
}

async function packageStatus() {
  return create(GetPackageStatusResponseSchema, { size: PACKAGE_SIZE, sha256: PACKAGE_SHA256 });
}

/** The call is refused, with this code and this reason. */
export async function refused(call: Promise<unknown>, code: Code, reason: ErrorReason): Promise<void> {
  const error = ConnectError.from(
    await call.then(
      () => new Error("no refusal"),
      (cause: unknown) => cause,
    ),
  );
  expect([reasonName(reasonOf(error)), Code[error.code]]).toEqual([reasonName(reason), Code[code]]);
}

export function millisecondsOf(at: Parameters<typeof timestampDate>[0] | undefined): number {
  return at === undefined ? Number.NaN : timestampDate(at).getTime();
}
