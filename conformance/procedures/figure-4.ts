// Figure 4, clause 7.3.2: a data consumer accesses data according to the requested permission.
import { UsageKind } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { Access, findByAllWays } from "../roles/access.ts";
import { same } from "../roles/user.ts";
import type { Cast } from "./cast.ts";
import { alreadyDesensitized } from "./collection.ts";
import { expect, type Procedure } from "./procedure.ts";
import { expectRecent } from "./recent-time.ts";

export const figure4: Procedure<Cast> = {
  id: "F4",
  clause: "7.3.2",
  title: "A data consumer accesses data according to the requested permission",
  // biome-ignore format: one line for each number of the figure
  stepIds: [
    "F4.1",
    "F4.2.1", "F4.2.2",
    "F4.3", "F4.4",
    "F4.5", "F4.6", "F4.7",
    "F4.8", "F4.9", "F4.10",
    "F4.11",
    "F4.12.1", "F4.12.2",
    "F4.13.1", "F4.13.2", "F4.14",
    "F4.15.1", "F4.15.2", "F4.16", "F4.17",
    "F4.18",
  ],

  async replay({ preamble, step, consequence, unobservable }, { provider, consumer, records, leftovers }) {
    const beganMs = Date.now();
    const shared = await preamble("a provider has shared data as in Figure 3", async () =>
      provider.share(await alreadyDesensitized(records), { accessTimes: 2, readOnly: true }, leftovers),
    );

    const found = await step("F4.1", "DC → DSSM", "finds the information: search, subscription, forwarded", (seen) =>
      findByAllWays(consumer, shared, seen),
    );

    await step("F4.2.1", "DC ↔ DSSM", "mutual authentication, session key", (seen) => consumer.connect("dssm", seen));
    await step("F4.2.2", "DC ↔ AAU", "mutual authentication of the user, right to access", async (seen) => {
      const rights = await consumer.authenticate(seen);
      expect(rights.access, "the right to access");
    });

    const access = new Access(consumer, shared, found);
    const grant = await step("F4.3", "DC → DSAM", "identity and data-sharing information, signed", (seen) =>
      access.request(seen),
    );
    await step("F4.4", "DSAM → DLT", "submits the transaction; a block with the access record forms", (seen) =>
      access.recorded(grant, seen),
    );

    const claims = await consequence("F4.5", "DSAM → TM", "orders a token", (seen) => access.tokenOrdered(grant, seen));
    await consequence("F4.6", "TM", "creates the token", (seen) => access.tokenCreated(claims, seen));
    await consequence("F4.7", "TM → DSAM", "hands over the token", (seen) =>
      access.tokenHandedOver(grant, claims, seen),
    );

    const requested = await consequence("F4.8", "DSAM → APM", "orders the requested permission", (seen) => {
      const permission = consumer.requestedPermission(grant);
      seen("signed by the management, of this access");
      return permission;
    });
    await consequence("F4.9", "APM", "creates it", (seen) => {
      expect(
        requested.keyId === shared.key.id &&
          requested.keyAddress === shared.key.address &&
          requested.packageId === shared.stored.id &&
          requested.packageAddress === shared.stored.address &&
          requested.expiration !== undefined &&
          requested.accessTimes === 2 &&
          requested.readOnly,
        "times, expiration, read only, key and package as the provider set them",
      );
      seen(`access ${requested.accessNumber} of ${requested.accessTimes}, read only, key and package as set`);
    });
    await consequence("F4.10", "APM → DSAM", "hands over the requested permission", (seen) => {
      expect(requested.contractAddress === shared.contractAddress, "a requested permission of this contract");
      seen("it came with the answer of F4.11");
    });
    await step(
      "F4.11",
      "DSAM → DC",
      "records the usage; sends token, permission, addresses, certificates",
      async (seen) => {
        access.serversNamed(grant);
        const usage = await provider.usageOf(shared.contractAddress);
        const [granted] = usage.filter(({ accessId }) => accessId === grant.record?.accessId);
        expect(granted?.kind === UsageKind.GRANTED, "a usage record that the provider can read");
        expectRecent(granted.occurredAt, "occurred_at of the usage record", beganMs);
        expectRecent(granted.recordedAt, "recorded_at of the usage record", beganMs);
        seen("token, requested permission, both addresses and certificates; the provider sees the usage record");
      },
    );

    await step("F4.12.1", "DC ↔ KSS", "mutual authentication, session key", (seen) => consumer.connect("kss", seen));
    const key = await step("F4.12.2", "DC → TV", "the token", (seen) => access.redeem(grant, seen));
    await consequence("F4.13.1", "TV", "verifies the token", (seen) => access.alteredTokenRefused(grant, seen));
    unobservable(
      "F4.13.2",
      "TV → TM",
      "optionally asks token management",
      "optional, and between two servers under test: seen only where the kit plays the management",
    );
    await step("F4.14", "TV → KSM → DC", "the result, then the key", async (seen) => {
      expect(same(key, shared.secret), "the key that the provider stored");
      await access.secondRedemptionRefused(grant, seen);
      seen("the provider's key");
    });

    await step("F4.15.1", "DC ↔ DSS", "mutual authentication, session key", (seen) => consumer.connect("dss", seen));
    const bytes = await step("F4.15.2", "DC → DD", "requests the package", (seen) =>
      consumer.getPackage(shared.stored.id, seen),
    );
    await consequence("F4.16", "DD", "authenticates the consumer", (seen) => access.namelessRefused(seen));
    const { ciphertext } = await step("F4.17", "DD → DC", "the package", (seen) => {
      const valid = consumer.validate(bytes, found.information);
      seen("the provider's signature covers metadata and encrypted data");
      return valid;
    });

    await step("F4.18", "DC", "accesses as the permission allows; encrypts again", async (seen) => {
      const accessId = grant.record?.accessId ?? "";
      const plaintext = consumer.decrypt(ciphertext, key, shared.key.id);
      await consumer.reportUsage(accessId, UsageKind.OPENED, "read once");
      expect(same(plaintext, shared.plaintext), "the desensitized original, byte for byte");
      const again = consumer.encryptAgain(plaintext, key, shared.key.id, ciphertext);
      expect(same(again, ciphertext), "the identical ciphertext after encrypting again");
      await consumer.reportUsage(accessId, UsageKind.CLOSED, "encrypted again");
      seen(`${plaintext.length} bytes equal the desensitized original; encrypted again, identical; usage reported`);
    });
  },
};
