// A data provider (clauses 6.2.1 and 7.2.1): shares data as Figure 3 has it, or, without an access permission, as Annex A.1 has it.
import { randomBytes } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { DataSharingAccessService } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import {
  DataSharingPolicySchema,
  type EncryptedData,
  PolicySubmissionSchema,
  type UsageRecord,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataSharingPolicyService, type PolicyRecord } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { EntityKind } from "../../gen/x1410/v1/identity_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import { newContext, signMessage } from "../envelope/sign.ts";
import type { ConnectedUser } from "../user/connected-user.ts";
import { EvidenceError } from "../user/evidence.ts";
import { inAnnexA, noProgress, type Progress } from "../user/progress.ts";
import { defaultPatience, type Patience, repeat } from "../user/repetition.ts";
import type { StateDirectory } from "../user/state-directory.ts";
import { accessPermission, type Offer, type Registered, sharedInformation } from "./offer.ts";
import { uploadPackage } from "./package-upload.ts";
import { PublicationJournal } from "./publication-journal.ts";
import { checkRecordedPolicy } from "./recorded-policy.ts";
import { encryptToFile, packageHead, StoredObject, signMetadata } from "./wrapping.ts";

export interface ProviderDependencies {
  readonly user: ConnectedUser;
  /** The provider's own; holds what is under way. */
  readonly state: StateDirectory;
  readonly now?: () => Date;
  readonly patience?: Patience;
  /** Identities of the storage servers to use; the first of the network where not named. */
  readonly keyStorage?: string;
  readonly dataStorage?: string;
}

export interface Publication {
  readonly policyId: string;
  readonly keyId: string;
  readonly packageId: string;
  /** Address for executing the smart contract. */
  readonly contractAddress: string;
  readonly policy: PolicyRecord;
}

/** What became of a publication that an earlier process left unfinished. */
export type Resumption =
  | { readonly outcome: "published"; readonly publication: Publication }
  | { readonly outcome: "discarded" | "failed"; readonly policyId: string; readonly cause?: unknown };

/** A submission is sent again as it is while it is younger than this; accepted are 300 s. */
const RESEND_MS = 240_000;

/** After these a publication can never come about any more: nothing of it is kept. */
const hopeless: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.REQUEST_INVALID,
  ErrorReason.PAYLOAD_MALFORMED,
  ErrorReason.PARTY_NOT_SIGNER,
  ErrorReason.REGISTRATION_EXPIRED,
  ErrorReason.KEY_NOT_FOUND,
  ErrorReason.PACKAGE_NOT_FOUND,
  ErrorReason.STORAGE_MISMATCH,
  ErrorReason.TRANSACTION_REJECTED,
  ErrorReason.POLICY_STATE_INVALID,
]);

export class DataProvider {
  readonly #user: ConnectedUser;
  readonly #publications: StateDirectory;
  readonly #now: () => Date;
  readonly #patience: Patience;
  readonly #servers: { readonly keyStorage: string; readonly dataStorage: string };

  /** @throws ConnectError ENTITY_NOT_REGISTERED where the network has no such storage server */
  constructor({ user, state, now = () => new Date(), patience = defaultPatience, ...servers }: ProviderDependencies) {
    this.#user = user;
    this.#publications = state.directory("publications");
    this.#now = now;
    this.#patience = patience;
    this.#servers = {
      keyStorage: servers.keyStorage ?? firstServer(user, EntityKind.KSS),
      dataStorage: servers.dataStorage ?? firstServer(user, EntityKind.DSS),
    };
  }

  /**
   * Shares `data`, which has been collected and desensitized (P1, F3.1).
   * @throws ConnectError of the servers; where it may pass, `resume` takes the publication up from where it was
   */
  async publish(data: AsyncIterable<Uint8Array>, offer: Offer, progress: Progress = noProgress): Promise<Publication> {
    const seen = offer.permission === undefined ? inAnnexA(progress) : progress;
    const journal = PublicationJournal.begin(this.#publications, this.#servers, this.#now());
    try {
      const key = await this.#registerKey(journal);
      seen("F3.2.2", `key registered at ${key.address}`);
      const stored = await this.#registerPackage(journal, offer);
      seen("F3.2.4", `package registered at ${stored.address}`);
      const encryptedData = await this.#wrap(journal, data, offer, key, stored);
      seen("F3.3.5", `${encryptedData.size} bytes encrypted and wrapped`);
    } catch (cause) {
      // Nothing is wrapped: there is nothing to resume, and the registrations expire by themselves.
      journal.finish();
      throw cause;
    }
    return this.#share(journal, progress);
  }

  /** Takes up what earlier processes left: what was wrapped is published, what was not is discarded. */
  async resume(seen: Progress = noProgress): Promise<Resumption[]> {
    const outcomes: Resumption[] = [];
    for (const id of this.unfinished()) {
      const journal = PublicationJournal.take(this.#publications, id);
      if (journal === undefined) continue;
      if (journal.entry.wrapped === undefined) {
        journal.finish();
        outcomes.push({ outcome: "discarded", policyId: id });
        continue;
      }
      try {
        outcomes.push({ outcome: "published", publication: await this.#share(journal, seen) });
      } catch (cause) {
        outcomes.push({ outcome: "failed", policyId: id, cause });
      }
    }
    return outcomes;
  }

  /** Policy ids of publications that are not finished. */
  unfinished(): string[] {
    return PublicationJournal.unfinished(this.#publications);
  }

  /** Gives an unfinished publication up and wipes what is kept of it. Answers whether there was one that nobody works on. */
  discard(policyId: string): boolean {
    const journal = PublicationJournal.take(this.#publications, policyId);
    journal?.finish();
    return journal !== undefined;
  }

  /** Clause 7.2.4: how consumers have used the data behind a contract of this provider, oldest first. */
  async *usageOf(contractAddress: string): AsyncGenerator<UsageRecord, void> {
    let pageToken = "";
    do {
      const page = await repeat(this.#patience, () =>
        this.#user.inSession((options) =>
          this.#user
            .management(DataSharingAccessService)
            .listUsageRecords({ contractAddress, pageSize: 100, pageToken }, options),
        ),
      );
      yield* page.records;
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /** W2, F3.2.2. */
  async #registerKey({ entry }: PublicationJournal): Promise<Registered> {
    const request = { requestId: fromBase64(entry.keyRequestId), managementIdentity: this.#user.managementIdentity };
    const client = this.#user.client(KeyStorageService, entry.keyStorage);
    const { keyId, keyAddress } = await repeat(this.#patience, () => client.registerKey(request));
    return { id: keyId, address: keyAddress };
  }

  /** W3, F3.2.4. */
  async #registerPackage({ entry }: PublicationJournal, { readers = [] }: Offer): Promise<Registered> {
    const request = {
      requestId: fromBase64(entry.packageRequestId),
      managementIdentity: this.#user.managementIdentity,
      readers: [...readers],
    };
    const client = this.#user.client(DataStorageService, entry.dataStorage);
    const { packageId, packageAddress } = await repeat(this.#patience, () => client.registerPackage(request));
    return { id: packageId, address: packageAddress };
  }

  /** F3.3.1 to F3.3.5: information, key, permission, metadata, package. When this resolves, a crash loses nothing of it. */
  async #wrap(
    journal: PublicationJournal,
    data: AsyncIterable<Uint8Array>,
    offer: Offer,
    registeredKey: Registered,
    stored: Registered,
  ): Promise<EncryptedData> {
    const { signer } = this.#user;
    const key = randomBytes(32);
    try {
      const encryptedData = await encryptToFile(data, { key, keyId: registeredKey.id }, journal.ciphertextPath);
      const permission = accessPermission(offer, registeredKey, stored);
      const metadata = { packageId: stored.id, keyId: registeredKey.id, encryptedData };
      const head =
        permission === undefined
          ? new Uint8Array()
          : packageHead(signMetadata(signer, metadata), Number(encryptedData.size));
      const object = await StoredObject.of(head, journal.ciphertextPath, encryptedData);
      const terms = create(PolicySubmissionSchema, {
        information: sharedInformation(offer, signer, registeredKey, stored, encryptedData),
        policy: create(DataSharingPolicySchema, {
          policyId: journal.id,
          version: 1n,
          managementIdentity: this.#user.managementIdentity,
          ...offer.policy,
        }),
        ...(permission === undefined ? {} : { accessPermission: permission }),
      });
      journal.keepKey(key);
      journal.note({
        wrapped: {
          keyId: registeredKey.id,
          packageId: stored.id,
          head: toBase64(head),
          size: object.size,
          sha256: toBase64(object.sha256),
          terms: toBase64(toBinary(PolicySubmissionSchema, terms)),
        },
      });
      return encryptedData;
    } finally {
      key.fill(0);
    }
  }

  /** F3.5 to F3.9, from wherever the journal stands. */
  async #share(journal: PublicationJournal, seen: Progress): Promise<Publication> {
    try {
      const publication = await this.#shareWrapped(journal, seen);
      journal.finish();
      return publication;
    } catch (cause) {
      // Where only the evidence fails, everything was done: there is nothing to resume either.
      if (hopeless.has(reasonOf(cause)) || cause instanceof EvidenceError) journal.finish();
      else journal.release();
      throw cause;
    }
  }

  async #shareWrapped(journal: PublicationJournal, progress: Progress): Promise<Publication> {
    const { wrapped, keyStorage, dataStorage } = journal.entry;
    if (wrapped === undefined) throw new TypeError(`publication ${journal.id} is not wrapped`);
    const { keyId, packageId, head } = wrapped;
    // Only a package has a head; without a permission the ciphertext is stored bare.
    const seen = head === "" ? inAnnexA(progress) : progress;
    await this.#submit(journal, wrapped.terms);
    seen("F3.5", `policy ${journal.id} submitted`);
    if (journal.entry.keyStored !== true) {
      await this.#storeKey(journal, this.#user.client(KeyStorageService, keyStorage), keyId);
      seen("F3.7.2", "key stored, own copy wiped");
    }
    await uploadPackage({
      client: this.#user.client(DataStorageService, dataStorage),
      packageId,
      object: new StoredObject(fromBase64(head), journal.ciphertextPath, {
        size: wrapped.size,
        sha256: fromBase64(wrapped.sha256),
      }),
      patience: this.#patience,
      sent: (bytes) => seen("F3.7.4", `${bytes} of ${wrapped.size} bytes sent`, true),
    });
    seen("F3.7.4", `package stored, ${wrapped.size} bytes`);
    const policy = await this.#confirm(journal.id);
    checkRecordedPolicy(policy, signedSubmission(journal), this.#user);
    seen("F3.9.1", `contract ${policy.contractAddress}`);
    return { policyId: journal.id, keyId, packageId, contractAddress: policy.contractAddress, policy };
  }

  /** F3.5, A1.5. The signed bytes are noted before they are sent; after a crash the same bytes go out again. */
  async #submit(journal: PublicationJournal, terms: string): Promise<void> {
    const { submission } = journal.entry;
    if (submission !== undefined) {
      if (this.#now().getTime() - submission.signedAt < RESEND_MS) return this.#send(signedSubmission(journal));
      if (await this.#isKnown(journal.id)) return;
    }
    const now = this.#now();
    const message = fromBinary(PolicySubmissionSchema, fromBase64(terms));
    message.context = newContext(this.#user, this.#user.managementIdentity, now);
    const envelope = signMessage(this.#user.signer, PolicySubmissionSchema, message);
    const bytes = toBase64(toBinary(SignedEnvelopeSchema, envelope));
    journal.note({ submission: { envelope: bytes, signedAt: now.getTime() } });
    return this.#send(envelope);
  }

  async #send(submission: SignedEnvelope): Promise<void> {
    const client = this.#user.management(DataSharingPolicyService);
    await repeat(this.#patience, () => this.#user.inSession((options) => client.submitPolicy({ submission }, options)));
  }

  async #isKnown(policyId: string): Promise<boolean> {
    const client = this.#user.management(DataSharingPolicyService);
    try {
      await repeat(this.#patience, () => this.#user.inSession((options) => client.getPolicy({ policyId }, options)));
      return true;
    } catch (cause) {
      if (reasonOf(cause) === ErrorReason.POLICY_NOT_FOUND) return false;
      throw cause;
    }
  }

  /** W7, F3.7.2, A1.7.1. Nobody but the key storage server has the key afterwards. */
  async #storeKey(journal: PublicationJournal, client: Client<typeof KeyStorageService>, keyId: string): Promise<void> {
    const key = journal.readKey();
    try {
      await repeat(this.#patience, () => client.storeKey({ keyId, key }));
    } finally {
      key.fill(0);
    }
    journal.note({ keyStored: true });
    journal.wipeKey();
  }

  /** F3.7 to F3.9.1, A1.7 to A1.9.1. */
  async #confirm(policyId: string): Promise<PolicyRecord> {
    const client = this.#user.management(DataSharingPolicyService);
    const { policy } = await repeat(this.#patience, () =>
      this.#user.inSession((options) => client.confirmStorage({ policyId }, options)),
    );
    if (policy === undefined) throw refusal(ErrorReason.POLICY_NOT_FOUND, policyId);
    return policy;
  }
}

function firstServer({ network }: ConnectedUser, kind: EntityKind): string {
  const server = network.entities.find((entity) => entity.kind === kind);
  if (server === undefined)
    throw refusal(
      ErrorReason.ENTITY_NOT_REGISTERED,
      kind === EntityKind.KSS ? "key storage server" : "data storage server",
    );
  return server.identity;
}

/** As it was sent. @throws TypeError where it was not */
function signedSubmission({ id, entry }: PublicationJournal): SignedEnvelope {
  if (entry.submission === undefined) throw new TypeError(`publication ${id} is not submitted`);
  return fromBinary(SignedEnvelopeSchema, fromBase64(entry.submission.envelope));
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

function fromBase64(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}
