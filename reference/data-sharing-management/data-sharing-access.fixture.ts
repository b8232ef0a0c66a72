import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
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
import { peerKey } from "../communications/peer.ts";
import { reasonName, reasonOf, refusal } from "../communications/refusal.ts";
import { newContext, signMessage } from "../envelope/sign.ts";
import { createSigner, type Signer } from "../envelope/signer.ts";
import type { LedgerEngine } from "../ledger/engine.ts";
import { createAccessPermissionManagement } from "./access-permission.ts";
import { callAs } from "./component-call.fixture.ts";
import type { SharedContract } from "./contracts.ts";
import {
  createDataSharingAccess,
  type DataSharingAccess,
  type DataSharingAccessDependencies,
} from "./data-sharing-access.ts";
import { MemoryLedger, NETWORK } from "./memory-ledger.fixture.ts";
import type { SessionGate } from "./session-gate.ts";
import { openTokenKeys } from "./token-keys.ts";
import { createTokenManagement } from "./token-management.ts";

export const START = Date.parse("2026-11-20T00:00:00Z");
export const CONTRACT = "c".repeat(32);
export const CONTRACT_ADDRESS = `x1410://dlt.${NETWORK}/contracts/${CONTRACT}`;
export const PACKAGE_SIZE = 4711n;
export const PACKAGE_SHA256 = new Uint8Array(32).fill(5);
const MANAGEMENT = "urn:x1410:entity:dssm:main";
const KEY = "d".repeat(32);
const PACKAGE = "e".repeat(32);

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
