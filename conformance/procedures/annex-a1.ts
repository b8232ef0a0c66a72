// Annex A.1: a data provider publishes data; ciphertext, no access permission.
import { randomBytes } from "node:crypto";
import { Publication } from "../roles/publication.ts";
import type { Cast } from "./cast.ts";
import { desensitized } from "./collection.ts";
import { expect, type Procedure } from "./procedure.ts";

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

  async replay({ step, consequence, independently }, cast) {
    const { provider, records } = cast;
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

    const publication = new Publication(cast, key, stored, () => provider.submission(information));
    const submitted = await step("A1.5", "DP → DSPM", "information; policy and its signature", (seen) =>
      publication.submit(seen),
    );
    await consequence("A1.6", "DSPM", "verifies the signature, creates the DLT transaction", async (seen) => {
      await publication.forgeryRefused(seen);
      seen("the transaction is A1.8's");
    });
    await step("A1.7", "DSPM → DP", "asks for key and ciphertext", (seen) =>
      publication.storageAwaited(submitted, "ciphertext", seen),
    );
    await step("A1.7.1", "DP → KSS", "stores the key", (seen) => provider.storeKey(key, secret, seen));
    await step("A1.7.2", "DP → DSS", "stores the ciphertext", (seen) => provider.storePackage(stored, encrypted, seen));

    const policy = await step("A1.8", "DSPM → DLT", "submits; a block with the contract forms", (seen) =>
      publication.recorded(seen),
    );

    await independently(
      () =>
        step("A1.9.1", "DSPM → DP", "notifies: contract completed, its address", (seen) =>
          publication.providerNotified(policy, seen),
        ),
      () =>
        consequence("A1.9.2", "DSPM → PUB", "notifies: address, information", async (seen) => {
          const published = await publication.answeredFor(policy, seen);
          expect(!published.withAccessPermission, "information without an access permission");
        }),
      () => step("A1.10", "PUB", "publishes", (seen) => publication.foundBySearch(policy, seen)),
      () => consequence("A1.11", "PUB → SUB", "notifies", (seen) => publication.subscriptionFed(seen)),
      () => step("A1.12", "SUB → subscribers", "sends", (seen) => publication.subscriberTold(policy, seen)),
    );
  },
};
