// From a policy whose data is stored to one that is published (DSPM3, DSPM4; F3.8 to F3.9, A1.8 to A1.9), and likewise for its changes. Each
// step is idempotent and the entry says which are left, so that whatever stops it, going on from the entry finishes the rest once.
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import type { AccessPermissionService } from "../../gen/x1410/v1/access_permission_pb.ts";
import { PolicyState, PublishedInformationSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { PendingStorage } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { type RejectionReason, RejectionReasonSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import type { LedgerEngine } from "../ledger/engine.ts";
import { type LedgerVerdict, submitTransaction } from "./dlt-transaction.ts";
import type { PolicyNotifications } from "./policy-notifications.ts";
import { isAbsent, type PolicyStorage } from "./policy-storage.ts";
import { type LedgerChange, type PolicyEntry, type PolicyStore, type Terms, termsOf } from "./policy-store.ts";

export interface PolicyRecordingDependencies {
  readonly policies: PolicyStore;
  readonly storage: PolicyStorage;
  readonly engine: LedgerEngine;
  readonly notifications: PolicyNotifications;
  readonly permissions: Pick<Client<typeof AccessPermissionService>, "storeAccessPermission">;
  readonly publication: Pick<Client<typeof InformationPublicationService>, "publishInformation">;
  readonly now: () => Date;
}

/** Callers hold the policy's mutex. */
export class PolicyRecording {
  readonly #parts: PolicyRecordingDependencies;

  constructor(dependencies: PolicyRecordingDependencies) {
    this.#parts = dependencies;
  }

  /**
   * Records what is under way on the ledger, where anything is. Nobody has been told of it yet afterwards.
   * @throws ConnectError STORAGE_INCOMPLETE where key or package has gone since it was stored; TRANSACTION_REJECTED, after which a creation
   * is forgotten and a change undone; LEDGER_UNAVAILABLE, OUTCOME_UNKNOWN, PEER_UNAVAILABLE
   */
  async record(entry: PolicyEntry): Promise<PolicyEntry> {
    const { change } = entry;
    if (change === undefined || entry.state === PolicyState.AWAITING_STORAGE) return entry;
    if (change.kind === "create") await this.#markUse(entry);
    const verdict = await submitTransaction(this.#parts.engine, change.transaction);
    if (!verdict.accepted) {
      await this.#undo(entry, change);
      throw refusal(ErrorReason.TRANSACTION_REJECTED, rejectionName(verdict.rejection));
    }
    const next = recorded(entry, change, verdict);
    // An address is executable as soon as anybody knows it: the permission is there before anything tells of the contract (F3.9.3).
    if (change.kind !== "withdraw") await this.#storePermission(next.terms, next.contractAddress);
    return this.#parts.policies.save(next);
  }

  /**
   * Publishes what is recorded and notifies the provider (F3.9.1, F3.9.2), where that is left to do.
   * @throws ConnectError PEER_UNAVAILABLE
   */
  async announce(entry: PolicyEntry): Promise<PolicyEntry> {
    if (entry.finished || entry.receipt === undefined) return entry;
    const { policies, notifications, storage } = this.#parts;
    const withdrawn = entry.state === PolicyState.WITHDRAWN;
    await this.#publish(entry, withdrawn);
    if (withdrawn) await orPeerUnavailable("storage", storage.free(entry));
    const state = withdrawn ? PolicyState.WITHDRAWN : PolicyState.PUBLISHED;
    return notifications.notify(entry, state, (changes) => policies.save({ ...entry, state, finished: true }, changes));
  }

  async #markUse(entry: PolicyEntry): Promise<void> {
    try {
      await this.#parts.storage.mark(entry);
    } catch (error) {
      if (!isAbsent(error)) throw withoutRegistry(error);
      const reason = reasonOf(error);
      const key = reason === ErrorReason.KEY_NOT_FOUND || reason === ErrorReason.KEY_NOT_STORED;
      const pending = [key ? PendingStorage.KEY : PendingStorage.PACKAGE];
      // Nothing has been submitted where marking failed before: the ledger is asked only after both are marked, and marked they stay.
      await this.#parts.policies.save({ ...entry, state: PolicyState.AWAITING_STORAGE, pending, finished: true });
      throw refusal(ErrorReason.STORAGE_INCOMPLETE, key ? "key" : "package");
    }
  }

  async #undo(entry: PolicyEntry, change: LedgerChange): Promise<void> {
    const { policies, storage } = this.#parts;
    if (change.kind === "create") {
      await storage.free(entry);
      await policies.remove(entry);
      return;
    }
    const { change: _undone, ...before } = entry;
    await policies.save({ ...before, finished: entry.state === PolicyState.PUBLISHED });
  }

  async #storePermission({ policy, accessPermission }: Terms, contractAddress: string): Promise<void> {
    if (accessPermission === undefined) return;
    const policyVersion = policy.version;
    const request = { contractAddress, policyVersion, accessPermission };
    await orPeerUnavailable("access permission management", this.#parts.permissions.storeAccessPermission(request));
  }

  async #publish({ terms, contractAddress }: PolicyEntry, withdrawn: boolean): Promise<void> {
    const information = create(PublishedInformationSchema, {
      contractAddress,
      information: terms.information,
      signedPolicy: terms.signedPolicy,
      publishedAt: timestampFromDate(this.#parts.now()),
      withAccessPermission: terms.accessPermission !== undefined,
      policyVersion: terms.policy.version,
      withdrawn,
    });
    await orPeerUnavailable("information publication", this.#parts.publication.publishInformation({ information }));
  }
}

/** The entry once the ledger holds its change for good. */
function recorded(
  { change: _recorded, ...entry }: PolicyEntry,
  change: LedgerChange,
  { receipt, proof }: Extract<LedgerVerdict, { accepted: true }>,
): PolicyEntry {
  const unannounced = { ...entry, receipt, proof, finished: false };
  const { kind, signed, openings = [] } = change;
  if (kind === "create" || signed === undefined) return { ...unannounced, state: PolicyState.RECORDED };
  if (kind === "update") return { ...unannounced, state: PolicyState.RECORDED, terms: termsOf(signed, openings) };
  const terms = { ...entry.terms, openings: [...entry.terms.openings, ...openings] };
  return { ...unannounced, state: PolicyState.WITHDRAWN, withdrawal: signed, terms };
}

/** The rule that the ledger's contract names, e.g. DUPLICATE_ID. */
function rejectionName(rejection: RejectionReason): string {
  return RejectionReasonSchema.value[rejection]?.name.replace("REJECTION_REASON_", "") ?? "";
}

async function orPeerUnavailable<T>(peer: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch {
    throw refusal(ErrorReason.PEER_UNAVAILABLE, peer);
  }
}

/** An entity that has left the registry since the submission is one that cannot be reached. */
export function withoutRegistry(error: unknown): unknown {
  return reasonOf(error) === ErrorReason.ENTITY_NOT_REGISTERED
    ? refusal(ErrorReason.PEER_UNAVAILABLE, "storage")
    : error;
}
