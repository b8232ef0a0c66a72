// A data consumer (clauses 6.2.1 and 7.2.2): finds shared data and accesses it as Figure 4 has it, or as Annex A.2 has it.
import { create } from "@bufbuild/protobuf";
import type { CallOptions } from "@connectrpc/connect";
import { DataDistributionService } from "../../gen/x1410/v1/data_distribution_pb.ts";
import { DataSharingAccessService, type GetAccessRecordResponse } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import {
  type AccessRecord,
  AccessRequestSchema,
  type DataSharingInformation,
  type PublishedInformation,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { parseContractAddress, parseStorageAddress } from "../communications/address.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import { newContext, signMessage } from "../envelope/sign.ts";
import type { ConnectedUser } from "../user/connected-user.ts";
import { follow } from "../user/followed-stream.ts";
import { inAnnexA, noProgress, type Progress } from "../user/progress.ts";
import { asRecorded } from "../user/recorded-trust.ts";
import { defaultPatience, mayPass, type Patience, repeat } from "../user/repetition.ts";
import type { SignedPolicy } from "../user/signed-policy.ts";
import type { StateDirectory } from "../user/state-directory.ts";
import { AccessJournal } from "./access-journal.ts";
import { checkAccessEvidence, checkGrant, checkPublished, type Grant } from "./grant.ts";
import { downloadPackage } from "./package-download.ts";
import { type ValidPackage, validateCiphertext, validatePackage } from "./package-validation.ts";
import { UnwrappingError, UnwrappingSession } from "./unwrapping.ts";
import { UsageReports } from "./usage-reports.ts";

export interface ConsumerDependencies {
  readonly user: ConnectedUser;
  /** The consumer's own; holds openings for good. */
  readonly state: StateDirectory;
  readonly now?: () => Date;
  readonly patience?: Patience;
}

export interface SearchFilter {
  readonly text?: string;
  readonly category?: string;
  readonly providerIdentity?: string;
}

export interface AccessOptions {
  readonly purpose?: string;
  readonly seen?: Progress;
}

/** An access record whose evidence has been checked. */
export interface ProvenRecord {
  readonly record: AccessRecord;
  readonly blockHeight: bigint;
  /** Record, proof and openings, for whoever is to check them as well. */
  readonly evidence: GetAccessRecordResponse;
}

export class DataConsumer {
  readonly #user: ConnectedUser;
  readonly #state: StateDirectory;
  readonly #now: () => Date;
  readonly #patience: Patience;
  readonly #reports: UsageReports;

  constructor({ user, state, now = () => new Date(), patience = defaultPatience }: ConsumerDependencies) {
    this.#user = user;
    this.#state = state;
    this.#now = now;
    this.#patience = patience;
    this.#reports = new UsageReports({ user, state: state.directory("reports"), now, patience });
  }

  /** F4.1, A2.1 by search: newest first. What its provider did not sign is left out. */
  async *search(filter: SearchFilter = {}): AsyncGenerator<PublishedInformation, void> {
    const client = this.#user.management(InformationPublicationService);
    let pageToken = "";
    do {
      const page = await this.#call((options) =>
        client.searchInformation({ filter, pageSize: 100, pageToken }, options),
      );
      for (const published of page.information) if (await this.#isSigned(published)) yield published;
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /** What the provider of found data has signed about it. @throws ConnectError of a signature; GrantError */
  signed(published: PublishedInformation): Promise<SignedPolicy> {
    return asRecorded(published.contractAddress, this.#user, (trust) => checkPublished(published, { trust }));
  }

  /** F4.1, A2.1 by an address that others forwarded. @throws ConnectError INFORMATION_NOT_FOUND; GrantError */
  async lookUp(contractAddress: string): Promise<{ published: PublishedInformation; signed: SignedPolicy }> {
    const client = this.#user.management(InformationPublicationService);
    const { information } = await this.#call((options) => client.getInformation({ contractAddress }, options));
    if (information?.contractAddress !== contractAddress)
      throw refusal(ErrorReason.INFORMATION_NOT_FOUND, contractAddress);
    return { published: information, signed: await this.signed(information) };
  }

  /** C1, F3.12, F4.1, A2.1 by subscription: what is new since the last time, then what comes, until `signal` aborts. */
  async *subscribe(
    options: { category?: string; signal?: AbortSignal } = {},
  ): AsyncGenerator<PublishedInformation, void> {
    const { category = "", signal } = options;
    const client = this.#user.management(InformationSubscriptionService);
    const stream = follow({
      user: this.#user,
      state: this.#state,
      name: `subscription-${Buffer.from(category).toString("hex")}.json`,
      patience: this.#patience,
      ...(signal === undefined ? {} : { signal }),
      open: (afterPosition, call) => client.subscribe({ afterPosition, category }, call),
      content: ({ information }) => information,
    });
    for await (const published of stream) if (await this.#isSigned(published)) yield published;
  }

  /**
   * Figure 4 from F4.3 to the opening: executes the smart contract, fetches key and package, validates, opens. Every access debits one of
   * those that the permission grants; one that broke off before its opening is taken up again.
   * @throws ConnectError of the entities, GrantError, EvidenceError, PackageError, UnwrappingError
   */
  async access(
    contractAddress: string,
    { purpose = "", seen: progress = noProgress }: AccessOptions = {},
  ): Promise<UnwrappingSession> {
    await this.#reports.deliver();
    const { signed } = await this.lookUp(contractAddress);
    const seen = signed.accessPermission === undefined ? inAnnexA(progress) : progress;
    seen("F4.1", `${contractAddress}, signed by ${signed.signer.identity}`);
    const journal = AccessJournal.takeOrBegin(
      this.#state.directory("accesses"),
      parseContractAddress(contractAddress).contractId,
      this.#now(),
      () => this.#signRequest(contractAddress, signed.information, purpose),
    );
    let session: UnwrappingSession;
    try {
      session = await this.#execute(contractAddress, signed.information, journal, seen);
    } catch (cause) {
      if (isSettled(cause)) journal.finish();
      else journal.release();
      throw cause;
    }
    journal.finish();
    return session;
  }

  /** C9: the consumer's access records, oldest first. */
  async *records(options: { contractAddress?: string; archived?: boolean } = {}): AsyncGenerator<AccessRecord, void> {
    const { contractAddress = "", archived: includeArchived = false } = options;
    const client = this.#user.management(DataSharingAccessService);
    let pageToken = "";
    do {
      const request = { contractAddress, includeArchived, pageSize: 100, pageToken };
      const page = await this.#call((call) => client.listAccessRecords(request, call));
      yield* page.records;
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /** C9, with the proof that the ledger holds it checked. @throws ConnectError ACCESS_RECORD_NOT_FOUND; EvidenceError */
  async record(accessId: string): Promise<ProvenRecord> {
    const client = this.#user.management(DataSharingAccessService);
    const evidence = await this.#call((options) => client.getAccessRecord({ accessId }, options));
    const { record, proof, openings } = evidence;
    if (record === undefined) throw refusal(ErrorReason.ACCESS_RECORD_NOT_FOUND, accessId);
    return { record, blockHeight: checkAccessEvidence({ proof, openings }, record, this.#user), evidence };
  }

  /** C9. What is left out stays as it is. @throws ConnectError ACCESS_RECORD_NOT_FOUND */
  async annotate(accessId: string, change: { note?: string; archived?: boolean }): Promise<AccessRecord> {
    const { record: current } = await this.record(accessId);
    const { note = current.note, archived = current.archived } = change;
    const client = this.#user.management(DataSharingAccessService);
    const { record } = await this.#call((options) => client.updateAccessRecord({ accessId, note, archived }, options));
    if (record === undefined) throw refusal(ErrorReason.ACCESS_RECORD_NOT_FOUND, accessId);
    return record;
  }

  /** Reports that could not be delivered yet are sent. Answers how many are left. */
  deliverReports(): Promise<number> {
    return this.#reports.deliver();
  }

  async #execute(
    contractAddress: string,
    information: DataSharingInformation,
    journal: AccessJournal,
    seen: Progress,
  ): Promise<UnwrappingSession> {
    const grant = await this.#requestAccess(contractAddress, information, journal.request);
    const { accessId } = grant;
    seen("F4.11", `access ${accessId}, number ${grant.accessNumber}, on the ledger`);
    const key = await this.#fetchKey(grant, journal.keyRequestId);
    seen("F4.14", `key ${grant.information.keyId} received`);
    const packages = this.#state.directory("packages");
    const lock = packages.lock(grant.information.packageId);
    try {
      // Another access of this moment works on the same package: this one takes a copy of its own.
      const name = lock === undefined ? `${grant.information.packageId}-${accessId}` : grant.information.packageId;
      const valid = await this.#fetchPackage(grant, packages.file(name), seen);
      seen("F4.17", "package received and validated");
      const session = await UnwrappingSession.open({
        accessId,
        permission: grant.permission,
        valid,
        key,
        openings: this.#state.directory("openings"),
        now: this.#now,
        report: (kind, remark) => this.#reports.report(accessId, kind, remark),
        over: () => lock?.release(),
      });
      seen("F4.18", "opened");
      return session;
    } catch (cause) {
      key.fill(0);
      lock?.release();
      throw cause;
    }
  }

  #signRequest(contractAddress: string, information: DataSharingInformation, purpose: string): SignedEnvelope {
    const { providerIdentity, providerPublicKey, packageId, keyId } = information;
    const message = create(AccessRequestSchema, {
      context: newContext(this.#user, this.#user.managementIdentity, this.#now()),
      consumer: { identity: this.#user.identity, publicKey: this.#user.signer.publicKey },
      sharedData: { providerIdentity, packageId, keyId, ...(providerPublicKey && { providerPublicKey }) },
      contractAddress,
      purpose,
    });
    return signMessage(this.#user.signer, AccessRequestSchema, message);
  }

  /** C4, C5, X1, X2; F4.3 to F4.11, A2.3 to A2.8. */
  async #requestAccess(
    contractAddress: string,
    { packageId }: DataSharingInformation,
    request: SignedEnvelope,
  ): Promise<Grant> {
    const client = this.#user.management(DataSharingAccessService);
    const answer = await this.#call((options) => client.requestAccess({ request }, options));
    const asked = { request, contractAddress, packageId };
    return asRecorded(contractAddress, this.#user, (trust) => checkGrant(answer, asked, this.#user, trust));
  }

  /** C6, X3; F4.12 to F4.14, A2.9 to A2.12. One request id until it is answered: a token releases its key once. */
  async #fetchKey({ information, accessToken }: Grant, requestId: Uint8Array): Promise<Uint8Array> {
    const client = this.#user.client(KeyStorageService, parseStorageAddress(information.keyAddress).entity);
    const { key } = await repeat(this.#patience, () =>
      client.getKey({ accessToken, keyId: information.keyId, requestId }),
    );
    return key;
  }

  /** C7, X4, X5; F4.15 to F4.17, A2.13 to A2.15. */
  async #fetchPackage(grant: Grant, path: string, seen: Progress): Promise<ValidPackage> {
    const { information, permission, packageSha256, record } = grant;
    const { packageId, packageAddress, encryptedData } = information;
    await downloadPackage({
      client: this.#user.client(DataDistributionService, parseStorageAddress(packageAddress).entity),
      packageId,
      path,
      sha256: packageSha256,
      patience: this.#patience,
      received: (bytes, size) => seen("F4.17", `${bytes} of ${size} bytes received`, true),
    });
    return permission === undefined
      ? validateCiphertext(path, information, encryptedData)
      : asRecorded(record.contractAddress, this.#user, (trust) => validatePackage(path, information, trust));
  }

  async #isSigned(published: PublishedInformation): Promise<boolean> {
    try {
      await this.signed(published);
      return true;
    } catch {
      return false;
    }
  }

  #call<T>(call: (options: CallOptions) => Promise<T>): Promise<T> {
    return repeat(this.#patience, () => this.#user.inSession(call));
  }
}

/** Whether nothing more can come of an access: an entity or the session has refused it for good. */
function isSettled(cause: unknown): boolean {
  return cause instanceof UnwrappingError || (reasonOf(cause) !== ErrorReason.UNSPECIFIED && !mayPass(cause));
}
