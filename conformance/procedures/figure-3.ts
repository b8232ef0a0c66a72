// Figure 3, clause 7.3.1: a data provider shares data with an access permission.
import { randomBytes } from "node:crypto";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { expectRefusal } from "../refusal.ts";
import { Publication } from "../roles/publication.ts";
import type { Cast } from "./cast.ts";
import { desensitized } from "./collection.ts";
import { expect, type Procedure } from "./procedure.ts";

export const figure3: Procedure<Cast> = {
  id: "F3",
  clause: "7.3.1",
  title: "A data provider shares data with an access permission",
  // biome-ignore format: one line for each number of the figure
  stepIds: [
    "F3.1",
    "F3.2.1", "F3.2.2", "F3.2.3", "F3.2.4",
    "F3.3.1", "F3.3.2", "F3.3.3", "F3.3.4", "F3.3.5",
    "F3.4.1", "F3.4.2",
    "F3.5", "F3.6",
    "F3.7", "F3.7.1", "F3.7.2", "F3.7.3", "F3.7.4",
    "F3.8",
    "F3.9.1", "F3.9.2", "F3.9.3", "F3.9.4",
    "F3.10", "F3.11", "F3.12",
  ],

  async replay({ step, consequence, independently }, cast) {
    const { provider, consumer, records } = cast;
    const data = await step("F3.1", "DP", "collects and desensitizes", (seen) => desensitized(records, seen));

    await step("F3.2.1", "DP ↔ KSS", "mutual authentication, session key", (seen) => provider.connect("kss", seen));
    const key = await step("F3.2.2", "DP → KSS", "registers for a key id and its address", (seen) =>
      provider.registerKey(seen),
    );
    await step("F3.2.3", "DP ↔ DSS", "mutual authentication, session key", (seen) => provider.connect("dss", seen));
    const stored = await step("F3.2.4", "DP → DSS", "registers for a package id and its address", (seen) =>
      provider.registerPackage(seen),
    );

    const information = await step("F3.3.1", "DP", "creates the data-sharing information", (seen) => {
      seen("by the kit: identifiers, addresses, allowed parties, attributes");
      return provider.information(key, stored);
    });
    const secret = await step("F3.3.2", "DP", "generates the key", (seen) => {
      seen("by the kit: 32 random bytes");
      return randomBytes(32);
    });
    const permission = await step("F3.3.3", "DP", "sets the access permission", (seen) => {
      seen("by the kit: 1 access, read only, for one hour");
      return provider.permission(key, stored, { accessTimes: 1, readOnly: true });
    });
    const encrypted = provider.encrypt(data, secret, key);
    const metadata = await step("F3.3.4", "DP", "generates the metadata", (seen) => {
      seen("by the kit: signed over the ids and the encrypted data's size, SHA-256 and key commitment");
      return provider.metadata(key, stored, encrypted.encryptedData);
    });
    const wrapped = await step("F3.3.5", "DP", "generates the package", (seen) => {
      const made = provider.package(metadata, encrypted);
      seen(`by the kit: ${made.bytes.length} bytes`);
      return made;
    });

    await step("F3.4.1", "DP ↔ DSSM", "mutual authentication, session key", (seen) => provider.connect("dssm", seen));
    await step("F3.4.2", "DP ↔ AAU", "mutual authentication of the user, right to publish", async (seen) => {
      const rights = await provider.authenticate(seen);
      expect(rights.publish, "the right to publish");
    });

    const publication = new Publication(cast, key, stored, () => provider.submission(information, permission));
    const submitted = await step("F3.5", "DP → DSPM", "information, policy, access permission, signature", (seen) =>
      publication.submit(seen),
    );
    await consequence("F3.6", "DSPM", "verifies the signature, creates the DLT transaction", async (seen) => {
      await publication.forgeryRefused(seen);
      seen("the transaction is F3.8's");
    });
    await step("F3.7", "DSPM → DP", "asks for key and package", (seen) =>
      publication.storageAwaited(submitted, "package", seen),
    );
    await step("F3.7.1", "DP ↔ KSS", "mutual authentication, session key", (seen) => provider.connect("kss", seen));
    await step("F3.7.2", "DP → KSS", "stores the key", (seen) => provider.storeKey(key, secret, seen));
    await step("F3.7.3", "DP ↔ DSS", "mutual authentication, session key", (seen) => provider.connect("dss", seen));
    await step("F3.7.4", "DP → DSS", "stores the package", (seen) => provider.storePackage(stored, wrapped, seen));

    const policy = await step("F3.8", "DSPM → DLT", "submits; a block with the smart contract forms", (seen) =>
      publication.recorded(seen),
    );

    await independently(
      () =>
        step("F3.9.1", "DSPM → DP", "notifies: contract completed, its address", (seen) =>
          publication.providerNotified(policy, seen),
        ),
      () =>
        consequence("F3.9.2", "DSPM → PUB", "notifies: address, information", (seen) =>
          publication.answeredFor(policy, seen),
        ),
      () => step("F3.10", "PUB", "publishes the new information", (seen) => publication.foundBySearch(policy, seen)),
      () =>
        consequence("F3.11", "PUB → SUB", "notifies: address, information", (seen) =>
          publication.subscriptionFed(seen),
        ),
      () =>
        step("F3.12", "SUB → subscribers", "sends address and information", (seen) =>
          publication.subscriberTold(policy, seen),
        ),
      async () => {
        const grant = await consequence(
          "F3.9.3",
          "DSPM → APM",
          "notifies: address, access permission",
          async (seen) => {
            const found = consumer.checkPublication(await consumer.lookUp(policy.contractAddress));
            const request = consumer.signRequest(consumer.accessRequest(found));
            const answer = await consumer.requestAccess(request);
            const requested = consumer.requestedPermission(answer);
            expect(
              requested.readOnly === permission.readOnly &&
                requested.accessTimes === permission.accessTimes &&
                requested.expiration?.seconds === permission.expiration?.seconds,
              "a requested permission with the terms that the provider set",
            );
            seen("executing the contract gives a requested permission with these terms");
            return found;
          },
        );
        await consequence("F3.9.4", "APM", "stores the access permission", async (seen) => {
          const second = consumer.signRequest(consumer.accessRequest(grant));
          await expectRefusal(() => consumer.requestAccess(second), ErrorReason.ACCESS_TIMES_EXHAUSTED);
          seen("the one access being used, the next is refused as ACCESS_TIMES_EXHAUSTED");
        });
      },
    );
  },
};
