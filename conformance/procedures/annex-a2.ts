// Annex A.2: a data consumer accesses shared data; ciphertext first, plaintext afterwards, no access permission.
import { Access, findByAllWays } from "../roles/access.ts";
import { same } from "../roles/user.ts";
import type { Cast } from "./cast.ts";
import { alreadyDesensitized } from "./collection.ts";
import { expect, type Procedure } from "./procedure.ts";

export const annexA2: Procedure<Cast> = {
  id: "A2",
  clause: "A.2",
  title: "A data consumer accesses shared data without an access permission",
  // biome-ignore format: one line for each number of the figure
  stepIds: [
    "A2.1", "A2.2", "A2.3", "A2.4",
    "A2.5", "A2.6", "A2.7", "A2.8",
    "A2.9", "A2.10.1", "A2.10.2", "A2.11", "A2.12",
    "A2.13", "A2.14", "A2.15", "A2.16",
  ],

  async replay({ preamble, step, consequence, unobservable }, { provider, consumer, records, leftovers }) {
    const shared = await preamble("a provider has published data as in Annex A.1", async () =>
      provider.share(await alreadyDesensitized(records), undefined, leftovers),
    );

    const found = await step("A2.1", "DC → DSSM", "finds the information: search, subscription, forwarded", (seen) =>
      findByAllWays(consumer, shared, seen),
    );
    await step("A2.2", "DC ↔ AAU", "mutual authentication, right to access", async (seen) => {
      const rights = await consumer.authenticate(seen);
      expect(rights.access, "the right to access");
    });

    const access = new Access(consumer, shared, found);
    const grant = await step("A2.3", "DC → DSAM", "identity and data-sharing information, signed", (seen) =>
      access.request(seen),
    );
    await step("A2.4", "DSAM → DLT", "submits the transaction; a block with the access record forms", (seen) =>
      access.recorded(grant, seen),
    );

    const claims = await consequence("A2.5", "DSAM → TM", "orders a token", (seen) => access.tokenOrdered(grant, seen));
    await consequence("A2.6", "TM", "creates the token", (seen) => access.tokenCreated(claims, seen));
    await consequence("A2.7", "TM → DSAM", "hands over the token", (seen) =>
      access.tokenHandedOver(grant, claims, seen),
    );
    await step("A2.8", "DSAM → DC", "sends token, key and ciphertext information, certificates", (seen) => {
      expect(grant.requestedPermission === undefined, "no requested permission in Annex A");
      access.serversNamed(grant);
      seen("token, both addresses and certificates");
    });

    const key = await step("A2.9", "DC → TV", "the token", (seen) => access.redeem(grant, seen));
    await consequence("A2.10.1", "TV", "verifies the token", (seen) => access.alteredTokenRefused(grant, seen));
    unobservable(
      "A2.10.2",
      "TV → TM",
      "optionally asks token management",
      "optional, and between two servers under test: seen only where the kit plays the management",
    );
    await consequence("A2.11", "TV → KSM", "the result", async (seen) => {
      await access.secondRedemptionRefused(grant, seen);
      seen("the key left");
    });
    await step("A2.12", "KSM → DC", "the key", (seen) => {
      expect(same(key, shared.secret), "the key that the provider stored");
      seen("the provider's key");
    });

    const ciphertext = await step("A2.13", "DC → DD", "requests the ciphertext", (seen) =>
      consumer.getPackage(shared.stored.id, seen),
    );
    await consequence("A2.14", "DD", "authenticates the consumer", (seen) => access.namelessRefused(seen));
    await step("A2.15", "DD → DC", "the ciphertext", (seen) => {
      consumer.checkCiphertext(ciphertext, found.information.encryptedData);
      seen("size and SHA-256 as the provider signed them");
    });

    await step("A2.16", "DC", "decrypts and accesses in plaintext", (seen) => {
      const plaintext = consumer.decrypt(ciphertext, key, shared.key.id);
      expect(same(plaintext, shared.plaintext), "the desensitized original, byte for byte");
      seen(`${plaintext.length} bytes equal the desensitized original`);
    });
  },
};
