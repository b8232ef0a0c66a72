// What Figure 3 and Annex A.1 have in common from the submission of a policy on: the provider submits, watches and stores, a subscriber
// waits, and what the management makes of it is judged arrow by arrow. Where the step of a figure is meant, Figure 3 comes first.

import type {
  ContractNotification,
  PolicySubmission,
  PublishedInformation,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { PolicyState } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { PendingStorage, type PolicyRecord } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { Finality } from "../../gen/x1410/v1/ledger_pb.ts";
import { withBitFlipped } from "../mutation.ts";
import type { Cast } from "../procedures/cast.ts";
import { contractOnLedger } from "../procedures/ledger-evidence.ts";
import { begun, expect } from "../procedures/procedure.ts";
import { expectRecent } from "../procedures/recent-time.ts";
import { expectRefusal } from "../refusal.ts";
import type { DataConsumer } from "./data-consumer.ts";
import type { DataProvider, Leftovers, Registered } from "./data-provider.ts";
import type { Seen } from "./user.ts";

export class Publication {
  readonly #provider: DataProvider;
  readonly #consumer: DataConsumer;
  readonly #leftovers: Leftovers;
  readonly #key: Registered;
  readonly #stored: Registered;
  readonly #submission: () => PolicySubmission;
  readonly #signed: SignedEnvelope;
  readonly #beganMs = Date.now();
  readonly #policyId: string;
  readonly #notified: Promise<ContractNotification>;
  readonly #delivered: Promise<PublishedInformation>;

  /**
   * Sets the stage for F3.9.1, A1.9.1, F3.12 and A1.12: a provider that watches and a consumer that has subscribed.
   *
   * @param submission makes a submission; each has a policy id of its own
   */
  constructor(
    { provider, consumer, leftovers }: Cast,
    key: Registered,
    stored: Registered,
    submission: () => PolicySubmission,
  ) {
    this.#provider = provider;
    this.#consumer = consumer;
    this.#leftovers = leftovers;
    this.#key = key;
    this.#stored = stored;
    this.#submission = submission;
    const first = submission();
    this.#signed = provider.sign(first);
    this.#policyId = first.policy?.policyId ?? "";
    this.#notified = begun(provider.awaitContract(this.#policyId));
    this.#delivered = begun(consumer.awaitPublication(stored.id));
  }

  /** F3.5, A1.5. */
  async submit(seen: Seen): Promise<PolicyRecord> {
    const policy = await this.#provider.submit(this.#signed);
    this.#leftovers.push(() => this.#provider.withdraw(this.#policyId, this.#key, this.#stored));
    expect(policy.policyId === this.#policyId, "the policy that was submitted");
    expectRecent(policy.submittedAt, "submitted_at of the policy", this.#beganMs);
    seen(`policy ${this.#policyId}`);
    return policy;
  }

  /** F3.6, A1.6. */
  async forgeryRefused(seen: Seen): Promise<void> {
    const forged = withBitFlipped(this.#provider.sign(this.#submission()));
    await expectRefusal(() => this.#provider.submit(forged), ErrorReason.SIGNATURE_INVALID);
    seen("one flipped bit is refused as SIGNATURE_INVALID");
  }

  /** F3.7, A1.7. @param stored what is to be stored beside the key, in the figure's words */
  async storageAwaited({ state, pending }: PolicyRecord, stored: string, seen: Seen): Promise<void> {
    expect(state === PolicyState.AWAITING_STORAGE, "a policy that awaits storage");
    expect(pending.includes(PendingStorage.KEY) && pending.includes(PendingStorage.PACKAGE), "both named");
    await expectRefusal(() => this.#provider.confirmStorage(this.#policyId), ErrorReason.STORAGE_INCOMPLETE);
    seen(`key and ${stored} still to be stored; confirming now is refused as STORAGE_INCOMPLETE`);
  }

  /** F3.8, A1.8. */
  async recorded(seen: Seen): Promise<PolicyRecord> {
    const policy = await this.#provider.confirmStorage(this.#policyId);
    expect(policy.receipt?.finality === Finality.FINAL, "a receipt that is final");
    contractOnLedger(policy, this.#signed, this.#provider.trust);
    seen(`block ${policy.receipt.blockHeight}; proof and commitments hold`);
    return policy;
  }

  /** F3.9.1, A1.9.1. */
  async providerNotified({ contractAddress }: PolicyRecord, seen: Seen): Promise<void> {
    const notification = await this.#notified;
    expect(notification.contractAddress === contractAddress, "the address of this contract");
    expectRecent(notification.notifiedAt, "notified_at", this.#beganMs);
    seen(notification.contractAddress);
  }

  /** F3.9.2, A1.9.2. */
  async answeredFor({ contractAddress }: PolicyRecord, seen: Seen): Promise<PublishedInformation> {
    const published = await this.#consumer.lookUp(contractAddress);
    const { information } = this.#consumer.checkPublication(published);
    expect(information.packageId === this.#stored.id, "this information");
    seen("the publication answers for the address");
    return published;
  }

  /** F3.10, A1.10. */
  async foundBySearch({ contractAddress }: PolicyRecord, seen: Seen): Promise<void> {
    const found = await this.#consumer.search(this.#stored.id);
    expect(found?.contractAddress === contractAddress, "a search that finds the contract");
    seen("a search finds it");
  }

  /** F3.11, A1.11. */
  async subscriptionFed(seen: Seen): Promise<void> {
    await this.#delivered;
    seen("the news reaches the subscriber in the next step");
  }

  /** F3.12, A1.12. */
  async subscriberTold({ contractAddress }: PolicyRecord, seen: Seen): Promise<void> {
    const published = await this.#delivered;
    expect(published.contractAddress === contractAddress, "the address of this contract");
    expectRecent(published.publishedAt, "published_at", this.#beganMs);
    this.#consumer.checkPublication(published);
    seen(published.contractAddress);
  }
}
