// Annex A.1: a data provider publishes data; ciphertext, no access permission.
import { randomBytes } from "node:crypto";
import { PolicyState } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { PendingStorage } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { Finality } from "../../gen/x1410/v1/ledger_pb.ts";
import { withBitFlipped } from "../mutation.ts";
import { expectRefusal } from "../refusal.ts";
import type { Cast } from "./cast.ts";
import { desensitized } from "./collection.ts";
import { contractOnLedger } from "./ledger-evidence.ts";
import { begun, expect, type Procedure } from "./procedure.ts";

export const annexA1: Procedure<Cast> = {
  id: "A1",
  clause: "A.1",
  title: "A data provider publishes data without an access permission",
  // biome-ignore format: one line for each number of the figure
  stepIds: [
    "A1.1",
    "A1.2.1", "A1.2.2", "A1.2.3", "A1.2.4",
    "A1.3", "A1.4", "A1.5", "A1.6",
    "A1.7", "A1.7.1", "A1.7.2",
    "A1.8",
    "A1.9.1", "A1.9.2",
    "A1.10", "A1.11", "A1.12",
  ],

  async replay({ step, consequence, independently }, { provider, consumer, records, leftovers }) {
    const data = await step("A1.1", "DP", "collects and desensitizes", (seen) => desensitized(records, seen));

    const secret = await step("A1.2.1", "DP", "generates the data encryption key", (seen) => {
      seen("by the kit: 32 random bytes");
      return randomBytes(32);
    });
    const key = await step("A1.2.2", "DP → KSS", "registers for a key id and its address", (seen) =>
      provider.registerKey(seen),
    );
    const encrypted = provider.encrypt(data, secret, key);
    const stored = await step("A1.2.3", "DP → DSS", "encrypts and registers the ciphertext", async (seen) => {
      const registered = await provider.registerPackage(() => {});
      seen(`${encrypted.bytes.length} bytes of ciphertext`);
      return registered;
    });
    await step("A1.2.4", "DSS → DP", "ciphertext id and storage address", (seen) => seen(stored.address));

    const information = await step("A1.3", "DP", "creates the data-sharing information", (seen) => {
      seen("by the kit: with size, SHA-256 and key commitment of the ciphertext, there being no metadata");
      return provider.information(key, stored, encrypted.encryptedData);
    });
    await step("A1.4", "DP ↔ AAU", "mutual authentication, right to publish", async (seen) => {
      const rights = await provider.authenticate(seen);
      expect(rights.publish, "the right to publish");
    });

    const submission = provider.submission(information);
    const signed = provider.sign(submission);
    const policyId = submission.policy?.policyId ?? "";
    // The stage for A1.9.1 and A1.12: a provider that watches and a consumer that has subscribed.
    const notified = begun(provider.awaitContract(policyId));
    const delivered = begun(consumer.awaitPublication(stored.id));
    const submitted = await step("A1.5", "DP → DSPM", "information; policy and its signature", async (seen) => {
      const policy = await provider.submit(signed);
      leftovers.push(() => provider.withdraw(policyId, key, stored));
      expect(policy.policyId === policyId, "the policy that was submitted");
      seen(`policy ${policyId}`);
      return policy;
    });
    await consequence("A1.6", "DSPM", "verifies the signature, creates the DLT transaction", async (seen) => {
      const forged = withBitFlipped(provider.sign(provider.submission(information)));
      await expectRefusal(() => provider.submit(forged), ErrorReason.SIGNATURE_INVALID);
      seen("one flipped bit is refused as SIGNATURE_INVALID; the transaction is A1.8's");
    });
    await step("A1.7", "DSPM → DP", "asks for key and ciphertext", async (seen) => {
      expect(submitted.state === PolicyState.AWAITING_STORAGE, "a policy that awaits storage");
      expect(
        submitted.pending.includes(PendingStorage.KEY) && submitted.pending.includes(PendingStorage.PACKAGE),
        "both named",
      );
      await expectRefusal(() => provider.confirmStorage(policyId), ErrorReason.STORAGE_INCOMPLETE);
      seen("key and ciphertext still to be stored; confirming now is refused as STORAGE_INCOMPLETE");
    });
    await step("A1.7.1", "DP → KSS", "stores the key", (seen) => provider.storeKey(key, secret, seen));
    await step("A1.7.2", "DP → DSS", "stores the ciphertext", (seen) => provider.storePackage(stored, encrypted, seen));

    const policy = await step("A1.8", "DSPM → DLT", "submits; a block with the contract forms", async (seen) => {
      const recorded = await provider.confirmStorage(policyId);
      expect(recorded.receipt?.finality === Finality.FINAL, "a receipt that is final");
      contractOnLedger(recorded, signed, provider.trust);
      seen(`block ${recorded.receipt.blockHeight}; proof and commitments hold`);
      return recorded;
    });

    await independently(
      () =>
        step("A1.9.1", "DSPM → DP", "notifies: contract completed, its address", async (seen) => {
          const notification = await notified;
          expect(notification.contractAddress === policy.contractAddress, "the address of this contract");
          seen(notification.contractAddress);
        }),
      () =>
        consequence("A1.9.2", "DSPM → PUB", "notifies: address, information", async (seen) => {
          const published = await consumer.lookUp(policy.contractAddress);
          expect(consumer.checkPublication(published).information.packageId === stored.id, "this information");
          expect(!published.withAccessPermission, "information without an access permission");
          seen("the publication answers for the address");
        }),
      () =>
        step("A1.10", "PUB", "publishes", async (seen) => {
          const found = await consumer.search(stored.id);
          expect(found?.contractAddress === policy.contractAddress, "a search that finds the contract");
          seen("a search finds it");
        }),
      () =>
        consequence("A1.11", "PUB → SUB", "notifies", async (seen) => {
          await delivered;
          seen("the news reaches the subscriber in A1.12");
        }),
      () =>
        step("A1.12", "SUB → subscribers", "sends", async (seen) => {
          const published = await delivered;
          expect(published.contractAddress === policy.contractAddress, "the address of this contract");
          consumer.checkPublication(published);
          seen(published.contractAddress);
        }),
    );
  },
};
