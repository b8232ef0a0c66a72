// Life of a policy (clause 6.2.2): SUBMITTED, AWAITING_STORAGE, STORED, RECORDED, PUBLISHED, WITHDRAWN. One thing happens to a policy at a
// time, and each change is durable before the next step is taken.
import { randomBytes } from "node:crypto";
import { PolicyState, type PolicyWithdrawal } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { PendingStorage } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { contractAddress } from "../communications/address.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import type { Signer } from "../envelope/signer.ts";
import { PolicyRecording, type PolicyRecordingDependencies, withoutRegistry } from "./policy-recording.ts";
import { type RequiredParts, requireSuccession } from "./policy-rules.ts";
import { isAbsent, PolicyStorage, type StorageServers } from "./policy-storage.ts";
import { digestOf, type PolicyEntry, type PolicyStore, termsOf } from "./policy-store.ts";
import {
  createContract,
  freshlySigned,
  type LedgerSigning,
  updateContract,
  withdrawContract,
} from "./policy-transaction.ts";

export interface PolicyLifeDependencies extends Omit<PolicyRecordingDependencies, "storage"> {
  /** Identity of the management. */
  readonly management: string;
  readonly signer: Signer;
  readonly storage: StorageServers;
  readonly policies: PolicyStore;
}

export class PolicyLife {
  readonly #policies: PolicyStore;
  readonly #storage: PolicyStorage;
  readonly #recording: PolicyRecording;
  readonly #signing: LedgerSigning;
  readonly #now: () => Date;
  readonly #mutex = new KeyedMutex();

  constructor(dependencies: PolicyLifeDependencies) {
    const { policies, management, storage: servers, signer, engine, now } = dependencies;
    this.#policies = policies;
    this.#storage = new PolicyStorage({ servers, management, policies });
    this.#recording = new PolicyRecording({ ...dependencies, storage: this.#storage });
    this.#signing = { signer, networkId: engine.info.networkId, now };
    this.#now = now;
  }

  /** F3.5 to F3.7, A1.5 to A1.7; where all is stored already, on to F3.9. @throws ConnectError as SubmitPolicy states */
  submit(provider: string, parts: RequiredParts, submission: SignedEnvelope): Promise<PolicyEntry> {
    const { policyId } = parts.policy;
    return this.#mutex.run(policyId, async () => {
      const known = await this.#policies.get(policyId);
      if (known !== undefined && (known.provider !== provider || !isOf(known, submission))) {
        throw refusal(ErrorReason.POLICY_STATE_INVALID, "policy.policy_id");
      }
      return this.#finish(known ?? (await this.#admit(provider, parts, submission)));
    });
  }

  /** F3.7 to F3.9, A1.7 to A1.9. @throws ConnectError as ConfirmStorage states */
  confirm(policyId: string, provider: string): Promise<PolicyEntry> {
    return this.#mutex.run(policyId, async () => {
      const entry = await this.#owned(policyId, provider);
      if (entry.state === PolicyState.WITHDRAWN) throw refusal(ErrorReason.POLICY_STATE_INVALID);
      return this.#finish(entry.state === PolicyState.AWAITING_STORAGE ? await this.#requireStored(entry) : entry);
    });
  }

  /** P10. @throws ConnectError as UpdatePolicy states */
  update(provider: string, parts: RequiredParts, update: SignedEnvelope): Promise<PolicyEntry> {
    const { policyId } = parts.policy;
    return this.#mutex.run(policyId, async () => {
      const entry = await this.#settled(await this.#owned(policyId, provider), update);
      if (isOf(entry, update)) return entry;
      if (entry.receipt === undefined || entry.state === PolicyState.WITHDRAWN) {
        throw refusal(ErrorReason.POLICY_STATE_INVALID);
      }
      requireSuccession(parts, entry.terms);
      return this.#change(
        await this.#policies.save({
          ...entry,
          change: updateContract(this.#signing, update),
          finished: false,
        }),
      );
    });
  }

  /** DSPM5: no more accesses; what was granted stays granted. @throws ConnectError as WithdrawPolicy states */
  withdraw(
    provider: string,
    { policyId, version }: PolicyWithdrawal,
    withdrawal: SignedEnvelope,
  ): Promise<PolicyEntry> {
    return this.#mutex.run(policyId, async () => {
      const entry = await this.#settled(await this.#owned(policyId, provider), withdrawal);
      if (entry.state === PolicyState.WITHDRAWN) return entry;
      if (version !== entry.terms.policy.version) throw refusal(ErrorReason.POLICY_VERSION_STALE);
      if (entry.receipt === undefined) {
        // Never on the ledger: there is no contract to end, and nobody to tell.
        const { change: _unsubmitted, ...rest } = entry;
        return this.#policies.save({ ...rest, state: PolicyState.WITHDRAWN, withdrawal, pending: [], finished: true });
      }
      return this.#change(
        await this.#policies.save({
          ...entry,
          change: withdrawContract(this.#signing, policyId, withdrawal),
          finished: false,
        }),
      );
    });
  }

  /** Goes on with what was broken off. @throws ConnectError what still stands in the way */
  resume(policyId: string): Promise<void> {
    return this.#mutex.run(policyId, async () => {
      const entry = await this.#policies.get(policyId);
      if (entry !== undefined) await this.#finish(entry);
    });
  }

  async #owned(policyId: string, provider: string): Promise<PolicyEntry> {
    const entry = await this.#policies.get(policyId);
    if (entry === undefined || entry.provider !== provider) throw refusal(ErrorReason.POLICY_NOT_FOUND);
    return entry;
  }

  /** F3.6: the transaction is created now and kept, whatever is still to be stored. */
  async #admit(provider: string, parts: RequiredParts, submission: SignedEnvelope): Promise<PolicyEntry> {
    const { policyId } = parts.policy;
    const pending = await this.#storage.pending(parts.information, parts.accessPermission !== undefined);
    const change = createContract(this.#signing, submission);
    return this.#mutex.run(`order of ${provider}`, async () =>
      this.#policies.save({
        policyId,
        provider,
        number: await this.#policies.nextNumber(provider),
        submittedAt: this.#now(),
        state: pending.length === 0 ? PolicyState.STORED : PolicyState.AWAITING_STORAGE,
        pending,
        terms: termsOf(submission, change.openings ?? []),
        salt: new Uint8Array(randomBytes(32)),
        contractAddress: contractAddress(this.#signing.networkId, policyId),
        change,
        finished: pending.length > 0,
      }),
    );
  }

  /** F3.7: asks both servers. @throws ConnectError STORAGE_INCOMPLETE, STORAGE_MISMATCH, PEER_UNAVAILABLE */
  async #requireStored(entry: PolicyEntry): Promise<PolicyEntry> {
    const pending = await this.#pending(entry);
    if (pending.length > 0) {
      await this.#policies.save({ ...entry, pending });
      throw refusal(ErrorReason.STORAGE_INCOMPLETE, pending.map((lacking) => storageName[lacking]).join(", "));
    }
    return this.#policies.save({
      ...entry,
      state: PolicyState.STORED,
      pending,
      finished: false,
      ...(entry.change === undefined ? {} : { change: freshlySigned(this.#signing, entry.change) }),
    });
  }

  async #pending({ terms: { information, accessPermission } }: PolicyEntry): Promise<PendingStorage[]> {
    try {
      return await this.#storage.pending(information, accessPermission !== undefined);
    } catch (error) {
      // A registration that has expired is one that was not filled.
      if (!isAbsent(error)) throw withoutRegistry(error);
      return [reasonOf(error) === ErrorReason.KEY_NOT_FOUND ? PendingStorage.KEY : PendingStorage.PACKAGE];
    }
  }

  async #finish(entry: PolicyEntry): Promise<PolicyEntry> {
    return this.#recording.announce(await this.#recording.record(entry));
  }

  /**
   * Records a change. Once it is on the ledger it holds; where it cannot be announced right now, reconciliation does that later.
   * @throws ConnectError TRANSACTION_REJECTED, LEDGER_UNAVAILABLE, OUTCOME_UNKNOWN
   */
  async #change(entry: PolicyEntry): Promise<PolicyEntry> {
    const recorded = await this.#recording.record(entry).catch((error: unknown) => {
      // The change is kept and tried again: whether it is on the ledger, this answer cannot say.
      throw reasonOf(error) === ErrorReason.PEER_UNAVAILABLE ? refusal(ErrorReason.OUTCOME_UNKNOWN) : error;
    });
    return this.#recording.announce(recorded).catch(() => recorded);
  }

  /** The entry without anything under way, so that the next message is judged by what holds. */
  async #settled(entry: PolicyEntry, message: SignedEnvelope): Promise<PolicyEntry> {
    if (entry.change === undefined || entry.state === PolicyState.AWAITING_STORAGE) return entry;
    try {
      return await this.#change(entry);
    } catch (error) {
      const own = digestOf(entry.change.signed) === digestOf(message);
      const reason = reasonOf(error);
      const over = reason === ErrorReason.TRANSACTION_REJECTED || reason === ErrorReason.STORAGE_INCOMPLETE;
      if (own || !over) throw error;
      return this.#owned(entry.policyId, entry.provider);
    }
  }
}

const storageName: Record<PendingStorage, string> = {
  [PendingStorage.UNSPECIFIED]: "",
  [PendingStorage.KEY]: "key",
  [PendingStorage.PACKAGE]: "package",
};

function isOf({ terms }: PolicyEntry, signed: SignedEnvelope): boolean {
  return digestOf(terms.signedPolicy) === digestOf(signed);
}
