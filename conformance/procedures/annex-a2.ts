// Annex A.2: a data consumer accesses shared data; ciphertext first, plaintext afterwards, no access permission.
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { withBitFlipped, withTokenAltered } from "../mutation.ts";
import { expectRefusal } from "../refusal.ts";
import { same } from "../roles/user.ts";
import type { Cast } from "./cast.ts";
import { alreadyDesensitized } from "./collection.ts";
import { accessOnLedger } from "./ledger-evidence.ts";
import { expect, type Procedure } from "./procedure.ts";
import { boundTo } from "./token-claims.ts";

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

    const found = await step(
      "A2.1",
      "DC → DSSM",
      "finds the information: search, subscription, forwarded",
      async (seen) => {
        const searched = await consumer.search(shared.stored.id);
        const subscribed = await consumer.awaitPublication(shared.stored.id);
        const forwarded = await consumer.lookUp(shared.contractAddress);
        const ways = [searched, subscribed, forwarded].map((published) => published?.contractAddress);
        expect(
          ways.every((address) => address === shared.contractAddress),
          "the same contract by all three ways",
        );
        seen(`${shared.contractAddress}, by all three ways`);
        return consumer.checkPublication(forwarded);
      },
    );
    await step("A2.2", "DC ↔ AAU", "mutual authentication, right to access", async (seen) => {
      const rights = await consumer.authenticate(seen);
      expect(rights.access, "the right to access");
    });

    const request = consumer.signRequest(consumer.accessRequest(found));
    const grant = await step("A2.3", "DC → DSAM", "identity and data-sharing information, signed", async (seen) => {
      await expectRefusal(() => consumer.requestAccess(withBitFlipped(request)), ErrorReason.SIGNATURE_INVALID);
      const answer = await consumer.requestAccess(request);
      seen(`access ${answer.record?.accessId}; one flipped bit is refused as SIGNATURE_INVALID`);
      return answer;
    });
    await step("A2.4", "DSAM → DLT", "submits the transaction; a block with the access record forms", (seen) => {
      accessOnLedger(grant, request, consumer.identity, consumer.trust);
      seen(`block ${grant.record?.receipt?.blockHeight}; proof and commitments hold`);
    });

    const claims = await consequence("A2.5", "DSAM → TM", "orders a token", (seen) => {
      const { bound, text } = boundTo(grant.accessToken, consumer.certificateSha256);
      expect(
        bound.keyId === shared.key.id && bound.accessId === grant.record?.accessId,
        "a token for this key and this access",
      );
      seen(text);
      return bound;
    });
    await consequence("A2.6", "TM", "creates the token", (seen) => {
      expect(claims.audience === consumer.target.entities.kss.identity, "a token for the key storage server alone");
      expect(claims.lifetimeSeconds <= 300, "a lifetime of 5 minutes at most");
      seen(`for ${claims.audience}, ${claims.lifetimeSeconds} s, bound to the consumer's certificate`);
    });
    await consequence("A2.7", "TM → DSAM", "hands over the token", async (seen) => {
      const again = await consumer.requestAccess(request);
      expect(again.record?.accessId === grant.record?.accessId, "the first record for the identical request");
      expect(
        boundTo(again.accessToken, consumer.certificateSha256).bound.tokenId === claims.tokenId,
        "the same token id",
      );
      seen("the identical request gets the same record and the same token id");
    });
    await step("A2.8", "DSAM → DC", "sends token, key and ciphertext information, certificates", (seen) => {
      const { kss, dss } = consumer.target.entities;
      expect(grant.requestedPermission === undefined, "no requested permission in Annex A");
      expect(
        grant.key?.keyAddress === shared.key.address && grant.package?.packageAddress === shared.stored.address,
        "both addresses",
      );
      expect(
        grant.key.server?.identity === kss.identity && (grant.key.server.certificate?.certificates.length ?? 0) > 0,
        "the KSS's certificate",
      );
      expect(
        grant.package.server?.identity === dss.identity &&
          (grant.package.server.certificate?.certificates.length ?? 0) > 0,
        "the DSS's certificate",
      );
      seen("token, both addresses and certificates");
    });

    const key = await step("A2.9", "DC → TV", "the token", (seen) =>
      consumer.getKey(grant.accessToken, shared.key.id, seen),
    );
    await consequence("A2.10.1", "TV", "verifies the token", async (seen) => {
      const altered = withTokenAltered(grant.accessToken);
      await expectRefusal(() => consumer.getKey(altered, shared.key.id, () => {}), ErrorReason.TOKEN_INVALID);
      seen("a token with one altered character is refused as TOKEN_INVALID");
    });
    unobservable(
      "A2.10.2",
      "TV → TM",
      "optionally asks token management",
      "optional, and between two servers under test: seen only where the kit plays the management",
    );
    await consequence("A2.11", "TV → KSM", "the result", async (seen) => {
      await expectRefusal(
        () => consumer.getKey(grant.accessToken, shared.key.id, () => {}),
        ErrorReason.TOKEN_REDEEMED,
      );
      seen("the key left; a second redemption is refused as TOKEN_REDEEMED");
    });
    await step("A2.12", "KSM → DC", "the key", (seen) => {
      expect(same(key, shared.secret), "the key that the provider stored");
      seen("the provider's key");
    });

    const ciphertext = await step("A2.13", "DC → DD", "requests the ciphertext", (seen) =>
      consumer.getPackage(shared.stored.id, seen),
    );
    await consequence("A2.14", "DD", "authenticates the consumer", async (seen) => {
      await consumer.connect("dss", () => {});
      seen("who shows no certificate is refused");
    });
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
