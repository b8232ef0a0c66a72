// For tests of policy management and its neighbours: real certificates, signatures and stores; storage servers and a ledger in memory that
// fail where a test says so; everything can be killed and started again over the same database.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { create, type DescService, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type CallOptions, type Client, Code, ConnectError } from "@connectrpc/connect";
import { Level } from "level";
import { expect } from "vitest";
import type { IdentityMaterial, Pki } from "../../certs/pki.ts";
import {
  type AccessPermissionSchema,
  type DataSharingInformationSchema,
  type DataSharingPolicySchema,
  PolicySubmissionSchema,
  PolicyUpdateSchema,
  PolicyWithdrawalSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { SignedContextSchema, SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import type { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import { silentLog } from "../communications/log.ts";
import type { Peer } from "../communications/peer.ts";
import { pkiFixture } from "../communications/pki.fixture.ts";
import { reasonName, reasonOf, requirementOf } from "../communications/refusal.ts";
import type { Registration } from "../communications/service.ts";
import { newContext, signMessage } from "../envelope/sign.ts";
import { createSigner, type Signer } from "../envelope/signer.ts";
import { createAccessPermissionManagement } from "./access-permission.ts";
import { createDataSharingPolicy, type DataSharingPolicyManagement } from "./data-sharing-policy.ts";
import { createInformationPublication, type InformationPublication } from "./information-publication.ts";
import { createInformationSubscription } from "./information-subscription.ts";
import { MANAGEMENT, MemoryLedger, MemoryStorage, type StoredObject } from "./policy-peers.fixture.ts";
import { localSessionGate, type SessionGate } from "./session-gate.ts";
import { Sessions } from "./sessions.ts";
import { type Accounts, createUserAccountManagement, readAccounts } from "./user-account.ts";

/** Refusals are judged by reason, and by the code that the reason's rule states. */
export async function refused(reason: ErrorReason, call: Promise<unknown>): Promise<ConnectError> {
  const error = ConnectError.from(
    await call.then(
      () => new Error("it was answered"),
      (cause: unknown) => cause,
    ),
  );
  expect(reasonName(reasonOf(error)), error.message).toBe(reasonName(reason));
  expect(error.code).toBe(requirementOf(reason).code as number);
  return error;
}

export interface User {
  readonly identity: string;
  readonly signer: Signer;
  readonly peer: Peer;
  /** Metadata with a session of this user. */
  readonly inSession: CallOptions & { readonly headers: Record<string, string> };
}

/** What a restart makes anew. */
export interface Components {
  readonly gate: SessionGate;
  readonly sessions: Sessions;
  readonly accounts: Registration<typeof UserAccountService>;
  readonly accountReader: Accounts;
  readonly policy: DataSharingPolicyManagement;
  readonly publication: InformationPublication;
  readonly subscription: ReturnType<typeof createInformationSubscription>;
}

type Information = MessageInitShape<typeof DataSharingInformationSchema>;

/** Parts of a submission or update in place of the proper ones. */
export interface Parts {
  readonly context?: MessageInitShape<typeof SignedContextSchema>;
  readonly information?: Information;
  readonly policy?: MessageInitShape<typeof DataSharingPolicySchema>;
  /** Annex A where it is undefined. */
  readonly accessPermission?: MessageInitShape<typeof AccessPermissionSchema> | undefined;
}

/** One data set, as its provider describes it. */
export interface Offer {
  readonly policyId: string;
  readonly keyId: string;
  readonly packageId: string;
  readonly information: Information;
}

export class PolicyRig {
  readonly ledger = new MemoryLedger();
  readonly storage = new MemoryStorage();
  readonly pki: Pki;
  signer: Signer;
  /** Components that throw at their next call, by the method's name. */
  readonly broken = new Set<string>();
  readonly #fixture = pkiFixture();
  readonly #db: Level<string, string>;
  components: Components;
  nowMs = Date.now();

  private constructor() {
    this.pki = this.#fixture.pki;
    this.signer = signerOf(this.#fixture.issue("dssm", "one"));
    this.#db = new Level(join(this.#fixture.directory, "db"));
    this.components = this.#components();
  }

  static async open(): Promise<PolicyRig> {
    const rig = new PolicyRig();
    await rig.#db.open();
    return rig;
  }

  async close(): Promise<void> {
    await this.#db.close();
    this.#fixture.remove();
  }

  readonly now = () => new Date(this.nowMs);

  /** The components as a new process has them: nothing in memory, everything on disk. */
  restart(): void {
    this.components = this.#components();
  }

  /**
   * The process dies at its write of this number, from 1: before it is on disk, or just after. Nothing gets to disk from then on, until
   * `revive` starts a new process. Answers the writes seen.
   */
  dieAt(write: number, durable: boolean): { writes: number } {
    const seen = { writes: 0 };
    const batch = this.#db.batch.bind(this.#db) as (...given: unknown[]) => Promise<void>;
    const dying = async (...given: unknown[]) => {
      seen.writes++;
      if (seen.writes < write || (seen.writes === write && durable)) await batch(...given);
      if (seen.writes >= write) throw new Error("the process is gone");
    };
    Object.assign(this.#db, { batch: dying });
    return seen;
  }

  revive(): void {
    Reflect.deleteProperty(this.#db, "batch");
    this.restart();
  }

  /** The management gets a new certificate for a new key, which takes a restart. */
  renewCertificate(): void {
    this.signer = signerOf(this.#fixture.issue("dssm", "one"));
    this.restart();
  }

  issue(name: string): IdentityMaterial {
    return this.#fixture.issue("user", name);
  }

  /** A user with an account and a session. */
  async user(name: string, rights: { publish?: boolean; access?: boolean } = { publish: true, access: true }) {
    const material = this.issue(name);
    const { identity, fingerprint } = material;
    const operator = { ...directPeer("urn:x1410:entity:operator:main") };
    await bindDirect(this.components.accounts, { peer: operator }).createAccount({ account: { identity, rights } });
    const { secret } = await this.components.sessions.open(identity, fingerprint);
    const peer: Peer = { ...directPeer(identity), fingerprint, connectionId: name };
    const user: User = {
      identity,
      signer: signerOf(material),
      peer,
      inSession: { headers: { "x1410-session": secret } },
    };
    return user;
  }

  as<S extends DescService>({ peer }: Pick<User, "peer">, registration: Registration<S>): Client<S> {
    return bindDirect(registration, { peer });
  }

  policy(user: User) {
    return this.as(user, this.components.policy.registration);
  }

  /** Registers key and package at the storage servers, empty unless `stored`. */
  offer(owner: User, stored: "stored" | "empty" = "stored"): Offer {
    const [policyId, keyId, packageId] = [hexId(), hexId(), hexId()];
    const sha256 = new Uint8Array(randomBytes(32));
    for (const id of [keyId, packageId]) {
      const object = { owner: owner.identity, management: MANAGEMENT, stored: stored === "stored", inUse: false };
      this.storage.objects.set(id, { ...object, size: 1000n, sha256 });
    }
    const information: Information = {
      providerIdentity: owner.identity,
      providerPublicKey: owner.signer.publicKey,
      keyId,
      keyAddress: `x1410://kss.one/keys/${keyId}`,
      packageId,
      packageAddress: `x1410://dss.one/packages/${packageId}`,
      attributes: { category: "subscriber-records", introduction: "A sample", keywords: ["telecom"] },
      encryptedData: { sha256, size: 1000n, commitment: new Uint8Array(32) },
    };
    return { policyId, keyId, packageId, information };
  }

  /** The object behind an id, for a test to change. */
  object(id: string): StoredObject {
    const object = this.storage.objects.get(id);
    if (object === undefined) throw new TypeError(`no object ${id}`);
    return object;
  }

  submission(user: User, offer: Offer, change: Parts = {}): SignedEnvelope {
    const parts = { ...this.#parts(user, offer, 1n), ...change } as MessageInitShape<typeof PolicySubmissionSchema>;
    return signMessage(user.signer, PolicySubmissionSchema, create(PolicySubmissionSchema, parts));
  }

  update(user: User, offer: Offer, version: bigint, change: Parts = {}): SignedEnvelope {
    const parts = { ...this.#parts(user, offer, version), ...change } as MessageInitShape<typeof PolicyUpdateSchema>;
    return signMessage(user.signer, PolicyUpdateSchema, create(PolicyUpdateSchema, parts));
  }

  withdrawal(user: User, { policyId }: Offer, version: bigint): SignedEnvelope {
    const context = newContext(user.signer, MANAGEMENT, this.now());
    return signMessage(
      user.signer,
      PolicyWithdrawalSchema,
      create(PolicyWithdrawalSchema, { context, policyId, version }),
    );
  }

  #parts(user: User, { policyId, information }: Offer, version: bigint) {
    const { keyId, keyAddress, packageId, packageAddress } = information;
    return {
      context: newContext(user.signer, MANAGEMENT, this.now()),
      information,
      policy: { policyId, version, managementIdentity: MANAGEMENT },
      accessPermission: {
        accessTimes: 3,
        expiration: timestampFromMs(this.nowMs + 86_400_000),
        keyId: keyId ?? "",
        keyAddress: keyAddress ?? "",
        packageId: packageId ?? "",
        packageAddress: packageAddress ?? "",
      },
    };
  }

  #components(): Components {
    const { now, signer, ledger: engine, storage } = this;
    const part = (name: string) => this.#db.sublevel(name);
    const accountStore = part("user-account");
    const accounts = readAccounts(accountStore);
    const sessions = new Sessions({ store: part("sessions"), accounts, now });
    const gate = localSessionGate(sessions);
    const subscription = createInformationSubscription({ store: part("subscription"), gate, keep: 50 });
    const publication = createInformationPublication({
      store: part("publication"),
      gate,
      subscription: this.#breakable(subscription),
    });
    const permission = createAccessPermissionManagement({ store: part("permission"), signer, now });
    const policy = createDataSharingPolicy({
      store: part("policy"),
      gate,
      signer,
      trust: this.pki.verifier(),
      engine,
      storage,
      permissions: this.#breakable(permission.registration),
      publication: this.#breakable(publication.registration),
      now,
      log: silentLog,
      keep: 50,
    });
    return {
      gate,
      sessions,
      accountReader: accounts,
      accounts: createUserAccountManagement({ store: accountStore, sessions, now }),
      policy,
      publication,
      subscription,
    };
  }

  /** A client whose methods fail as an unreachable component's do while `broken` names them. */
  #breakable<S extends DescService>(registration: Registration<S>): Client<S> {
    return bindDirect(registration, {
      peer: directPeer(MANAGEMENT),
      guards: [
        {
          admit: ({ method }) => {
            if (this.broken.has(method.localName)) throw new ConnectError("connection refused", Code.Unavailable);
            return undefined;
          },
        },
      ],
    });
  }
}

export function hexId(): string {
  return randomBytes(16).toString("hex");
}

function signerOf({ privateKeyPem, chainPem }: IdentityMaterial): Signer {
  return createSigner({ privateKeyPem, certificateChainPem: chainPem });
}
