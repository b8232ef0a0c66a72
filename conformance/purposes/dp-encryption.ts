// A data provider under test (clause 7.2.1): what it encrypts and wraps, under which key, and who learns of it.
import { create, toBinary } from "@bufbuild/protobuf";
import { PackageMetadataSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { verifyEnvelope } from "../../reference/envelope/verify.ts";
import type { Outcome } from "../clients/client-under-test.ts";
import { byTheKit } from "../clients/consumer-scene.ts";
import type { ObservedCall } from "../clients/observation.ts";
import { expectPlaintext, opened, publicationOf, publish, publishedBy } from "../clients/provider-scene.ts";
import { expect, expectFirst } from "../procedures/procedure.ts";
import { sha256 } from "../roles/data-provider.ts";
import { same } from "../roles/user.ts";
import { publishing, sharing } from "./dp-publication.ts";
import { type Purpose, purpose } from "./purpose.ts";

const { storeKey } = KeyStorageService.method;

/** Of the raw data, so many bytes in a row must be in no request. */
const TRACE_BYTES = 24;

export const providerEncryptionPurposes: readonly Purpose[] = [
  purpose({
    ...publishing,
    id: "TP/DP/DP/BV-02",
    title: "wraps encrypted data and signed metadata as a package",
    clause: "7.2.1",
    steps: ["F3.3.4", "F3.3.5"],
    capabilities: ["W5", "W6"],
    diagram: sharing("share {input}", "a package", ["tester", "tester", "opens the package, verifies its metadata"]),
    stimulus: "the command publish",
    expected:
      "metadata signed by the provider: package id, provider, its public key, key id, size and SHA-256 of the encrypted data",
    likelyMistake: "the digest of the plaintext, or of the whole package, stands in the metadata",
    async run(t) {
      const scene = await publicationOf(t);
      const published = publishedBy(t, await publish(scene));
      const { metadata: envelope, encryptedData } = opened(published);
      expectFirst(envelope !== undefined, "signed metadata");
      const { message, signer } = verifyEnvelope(envelope, PackageMetadataSchema, t.trust);
      expect(
        signer.identity === scene.client.identity && message.providerIdentity === scene.client.identity,
        "metadata signed by the provider that they name",
      );
      expect(
        message.packageId === published.packageId && message.keyId === published.keyId,
        "the ids of this package and of its key",
      );
      const stated = message.encryptedData;
      expect(
        stated !== undefined &&
          stated.size === BigInt(encryptedData.length) &&
          same(stated.sha256, sha256(encryptedData)),
        "size and SHA-256 of the encrypted data",
      );
      t.seen(`metadata over ${encryptedData.length} bytes`);
    },
  }),
  purpose({
    ...publishing,
    id: "TP/DP/DP/BV-03",
    title: "encrypts in the published format under the key that it stores, and sends the plaintext to nobody",
    clause: "7.2.1",
    steps: ["F3.3.2", "F3.3.5", "F3.7.2", "F3.7.4"],
    capabilities: ["P3", "W1", "W6", "W8", "S2"],
    diagram: sharing("share {input}", "a package", [
      "tester",
      "tester",
      "decrypts the package, looks for the plaintext in every request",
    ]),
    stimulus: "the command publish",
    expected: "the stored key decrypts the stored package to {input}; no request has a piece of {input}",
    likelyMistake: "the package is stored as it was read, relying on TLS alone",
    async run(t) {
      const scene = await publicationOf(t);
      const outcome = await publish(scene);
      const published = publishedBy(t, outcome);
      expectNowhere(outcome, piecesOf(scene.plaintext), () => true, "the plaintext");
      expectPlaintext(opened(published).encryptedData, published, scene.plaintext);
      t.seen(`${scene.plaintext.length} bytes, encrypted`);
    },
  }),
  purpose({
    ...publishing,
    id: "TP/DP/DP/BV-04",
    title: "draws a new key for each publication",
    clause: "7.2.1",
    steps: ["F3.3.2", "A1.2.1"],
    capabilities: ["P2", "W1"],
    diagram: sharing("share {input}, twice", "a package", [
      "tester",
      "tester",
      "compares the two keys and the two ciphertexts",
    ]),
    stimulus: "the command publish, twice with the same data",
    expected: "two keys of 32 bytes that differ, and two ciphertexts that differ",
    likelyMistake: "a key is derived from the data or kept in the profile, so that one access opens all",
    async run(t) {
      const scene = await publicationOf(t);
      const first = publishedBy(t, await publish(scene));
      const second = publishedBy(t, await publish(scene));
      expect(first.key.length === 32 && second.key.length === 32, "keys of 32 bytes");
      expect(!same(first.key, second.key), "another key for each publication");
      expect(
        first.key.some((byte) => byte !== first.key[0]),
        "a random key",
      );
      expect(!same(first.stored, second.stored), "another ciphertext for each publication");
      t.seen("two keys");
    },
  }),
  purpose({
    ...publishing,
    id: "TP/DP/DP/BV-05",
    title: "tells the key to the key storage server alone",
    clause: "7.2.1",
    steps: ["F3.7.2", "A1.7.1"],
    capabilities: ["P4", "W7"],
    diagram: sharing("share {input}", "a package", ["tester", "tester", "looks for the key in every request"]),
    stimulus: "the command publish",
    expected: "the key in StoreKey, and in no request to another server",
    likelyMistake: "the key goes along with the policy or in the package",
    async run(t) {
      const scene = await publicationOf(t);
      const outcome = await publish(scene);
      const { key } = publishedBy(t, outcome);
      const spellings = [key, Buffer.from(key).toString("base64"), Buffer.from(key).toString("hex")];
      const values = spellings.map((spelling) => Buffer.from(spelling as Uint8Array));
      expectNowhere(outcome, values, ({ method }) => method !== storeKey, "the key");
      t.seen("the key in StoreKey alone");
    },
  }),
  purpose({
    ...publishing,
    id: "TP/DP/DP/BV-06",
    title: "shares data that a consumer can access",
    clause: "7.3.1",
    steps: ["F3.9.1"],
    capabilities: ["P9"],
    diagram: sharing(
      "share {input}",
      "a package",
      ["tester", "DSSM", "RequestAccess"],
      ["tester", "KSS", "GetKey"],
      ["tester", "DSS", "GetPackage"],
    ),
    stimulus: "the command publish; then the kit's consumer accesses the contract",
    expected: "the consumer obtains {input}, byte for byte",
    likelyMistake: "the context of the encryption is not the key's id, so that others cannot decrypt",
    async run(t) {
      const scene = await publicationOf(t);
      const { contractAddress } = publishedBy(t, await publish(scene));
      const { consumer } = t;
      const found = await byTheKit(async () => {
        await t.inSession(consumer);
        return consumer.checkPublication(await consumer.lookUp(contractAddress));
      });
      const { keyId, packageId } = found.information;
      const { key, stored } = await byTheKit(async () => {
        const grant = await consumer.requestAccess(consumer.signRequest(consumer.accessRequest(found)));
        return {
          key: await consumer.getKey(grant.accessToken, keyId, () => {}),
          stored: await consumer.getPackage(packageId, () => {}),
        };
      });
      const { encryptedData } = opened({ stored });
      expectPlaintext(encryptedData, { key, keyId }, scene.plaintext);
      t.seen(`accessed: ${scene.plaintext.length} bytes`);
    },
  }),
];

function piecesOf(plaintext: Uint8Array): Buffer[] {
  return [0, plaintext.length >> 2, plaintext.length >> 1, plaintext.length - TRACE_BYTES].map((at) =>
    Buffer.from(plaintext.subarray(at, at + TRACE_BYTES)),
  );
}

/** None of the values is in a request of the calls chosen. */
function expectNowhere(
  { calls }: Outcome,
  values: readonly Buffer[],
  chosen: (call: ObservedCall) => boolean,
  what: string,
): void {
  const found = calls.filter(chosen).filter(({ method, requests }) => {
    const bytes = Buffer.concat(requests.map((message) => toBinary(method.input, create(method.input, message))));
    return values.some((value) => bytes.includes(value));
  });
  const names = [...new Set(found.map(({ method }) => method.name))].join(", ");
  expect(found.length === 0, `${what} in no request (it is in ${names})`);
}
