// A data provider under test (clauses 6.2.1 and 7.2.1): what it sends where nothing is wrong, step by step.
import { create, toBinary } from "@bufbuild/protobuf";
import { PackageMetadataSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataSharingPolicyService } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService, type RegisterPackageResponse } from "../../gen/x1410/v1/data_storage_pb.ts";
import { KeyStorageService, type RegisterKeyResponse } from "../../gen/x1410/v1/key_storage_pb.ts";
import { UserAuthenticationService } from "../../gen/x1410/v1/user_authentication_pb.ts";
import { verifyEnvelope } from "../../reference/envelope/verify.ts";
import { decryptBytes } from "../../reference/symmetric-encryption/encrypt-bytes.ts";
import { valuesIn } from "../canary-scan.ts";
import type { Outcome } from "../clients/client-under-test.ts";
import { byTheKit, expectOrder } from "../clients/consumer-scene.ts";
import type { ObservedCall } from "../clients/observation.ts";
import { differenceText } from "../clients/outcome-text.ts";
import {
  expirationOf,
  opened,
  type ProviderScene,
  type Published,
  publicationOf,
  publish,
  publishedBy,
} from "../clients/provider-scene.ts";
import { expect, expectFirst } from "../procedures/procedure.ts";
import { canaries } from "../procedures/subscriber-records.ts";
import { sha256 } from "../roles/data-provider.ts";
import { same } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import { type Arrow, type Purpose, purpose } from "./purpose.ts";

const { registerKey, storeKey } = KeyStorageService.method;
const { registerPackage, storePackage } = DataStorageService.method;
const { submitPolicy, confirmStorage } = DataSharingPolicyService.method;
const { completeAuthentication } = UserAuthenticationService.method;

/** A publication by the client: what it is told to share, what it stores, and what the purpose looks at. */
function sharing(input: string, stored: string, ...looked: readonly Arrow[]): readonly Arrow[] {
  return [
    ["tester", "DP", input],
    ["DP", "KSS", "RegisterKey"],
    ["DP", "DSS", "RegisterPackage"],
    ["DP", "DP", "encrypts, signs"],
    ["DP", "DSSM", "SubmitPolicy, signed"],
    ["DP", "KSS", "StoreKey"],
    ["DP", "DSS", `StorePackage: ${stored}`],
    ["DP", "DSSM", "ConfirmStorage"],
    ["DSSM", "DP", "the contract's address"],
    ...looked,
  ];
}

const common = {
  commands: ["publish"],
  initialState: "the kit's servers around the client",
  budgetSeconds: 90,
} as const;

/** Of the raw data, so many bytes in a row must be in no request. */
const TRACE_BYTES = 24;

export const providerPublicationPurposes: readonly Purpose[] = [
  purpose({
    ...common,
    id: "TP/DP/F3/BV-01",
    title: "shares data with an access permission as Figure 3 has it",
    clause: "7.3.1",
    steps: [
      "F3.2.1",
      "F3.2.2",
      "F3.2.3",
      "F3.2.4",
      "F3.4.1",
      "F3.4.2",
      "F3.5",
      "F3.7",
      "F3.7.1",
      "F3.7.2",
      "F3.7.3",
      "F3.7.4",
      "F3.9.1",
    ],
    capabilities: ["U3", "U5", "P4", "P5", "P8", "P9", "W2", "W3", "W7", "W8", "W9", "S2", "AAC4"],
    diagram: sharing("share {input}", "a package", [
      "tester",
      "tester",
      "compares the order of the calls with Figure 3",
    ]),
    stimulus: "the command publish",
    expected:
      "registrations and authentication before SubmitPolicy, storage before the last ConfirmStorage, which names the contract",
    likelyMistake: "the policy is submitted before the addresses in it are registered",
    async run(t) {
      const scene = await publicationOf(t);
      const outcome = await publish(scene);
      const { contractAddress } = publishedBy(t, outcome);
      expectFigure(outcome);
      t.seen(`${outcome.calls.length} calls; ${contractAddress}`);
    },
  }),
  purpose({
    ...common,
    id: "TP/DP/A1/BV-01",
    title: "shares data without an access permission as Annex A.1 has it",
    clause: "Annex A.1",
    steps: ["A1.2.1", "A1.2.2", "A1.2.3", "A1.2.4", "A1.3", "A1.4", "A1.5", "A1.7", "A1.7.1", "A1.7.2", "A1.9.1"],
    capabilities: ["P2", "P3", "P6", "P7", "P9"],
    commands: ["publishBare"],
    diagram: sharing("share {input} without a permission", "the bare ciphertext", [
      "tester",
      "tester",
      "compares the order with Annex A.1, the ciphertext with the information",
    ]),
    stimulus: "the command publishBare",
    expected: "the order of the figure; the bare ciphertext, which the signed information describes, and no permission",
    likelyMistake: "a package with metadata is stored, or the encrypted data are not stated in the information",
    async run(t) {
      const scene = await publicationOf(t);
      const outcome = await publish(scene, "publishBare");
      const published = publishedBy(t, outcome);
      expectFigure(outcome);
      const { information, accessPermission } = published.submission;
      expect(accessPermission === undefined, "no access permission");
      const stated = information?.encryptedData;
      expect(
        stated !== undefined &&
          stated.size === BigInt(published.stored.length) &&
          same(stated.sha256, sha256(published.stored)),
        "size and SHA-256 of what was stored, in the signed information",
      );
      expectPlaintext(published.stored, published, scene.plaintext);
      t.seen(`a bare ciphertext of ${published.stored.length} bytes`);
    },
  }),
  purpose({
    ...common,
    id: "TP/DP/F3/BV-02",
    title: "desensitizes what it shares",
    clause: "6.2.1",
    steps: ["F3.1", "A1.1"],
    capabilities: ["P1"],
    commands: ["publishRecords"],
    initialState: "subscriber records in CSV, with names, phone numbers, card numbers and e-mail addresses",
    diagram: sharing("share {input}, desensitized", "a package", [
      "tester",
      "tester",
      "decrypts, and looks for what identifies somebody",
    ]),
    stimulus: "the command publishRecords",
    expected: "what the key decrypts has as many records, and none of the values that identify somebody",
    likelyMistake: "columns are desensitized, and free text in which the same values stand is not",
    async run(t) {
      const scene = await publicationOf(t, t.records);
      const published = publishedBy(t, await publish(scene, "publishRecords"));
      const data = decrypted(opened(published).encryptedData, published);
      const left = valuesIn(data, canaries(t.records));
      expect(left.length === 0, `no value that identifies somebody (${left.length} are left)`);
      const [before, after] = [t.records, data].map((text) => Buffer.from(text).toString("utf8").split(/\r?\n/).length);
      expect(after !== undefined && before !== undefined && after > before / 2, "the records, and not an empty file");
      t.seen(`${data.length} bytes; none of ${canaries(t.records).length} values is left`);
    },
  }),
  purpose({
    ...common,
    id: "TP/DP/DP/BV-01",
    title: "signs information, policy and permission as one, fresh each time",
    clause: "6.2.1",
    steps: ["F3.3.1", "F3.3.3", "F3.5"],
    capabilities: ["P6", "P7", "P8", "W4", "W9"],
    diagram: sharing("share {input}, twice", "a package", [
      "tester",
      "tester",
      "verifies both signatures, compares their contexts",
    ]),
    stimulus: "the command publish, twice",
    expected:
      "policies signed by the provider, with its identity and key, the ids and addresses that were registered, the terms asked for, and two nonces",
    likelyMistake: "addresses are composed by the client instead of being those that the servers answered",
    async run(t) {
      const scene = await publicationOf(t);
      const nonces: string[] = [];
      for (const _ of [1, 2]) {
        const outcome = await publish(scene);
        nonces.push(signedTerms(t, scene, outcome));
      }
      expect(nonces[0] !== nonces[1], "another nonce in each submission");
      t.seen("two signed submissions, two nonces");
    },
  }),
  purpose({
    ...common,
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
    ...common,
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
    ...common,
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
    ...common,
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
    ...common,
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

/** Registrations and authentication, then the policy; storage before the confirmation that counts. */
function expectFigure({ calls }: Outcome): void {
  for (const before of [registerKey, registerPackage, completeAuthentication])
    expectOrder(calls, [before, submitPolicy]);
  const confirmed = calls.findLast(({ method }) => method === confirmStorage)?.order ?? 0;
  for (const stored of [storeKey, storePackage])
    expect(
      calls.some(({ method, order }) => method === stored && order < confirmed),
      `${stored.name} before the last ConfirmStorage`,
    );
}

/** Judges the signed policy of a publication; answers its nonce. */
function signedTerms(t: TestCase, { client, terms }: ProviderScene, outcome: Outcome): string {
  const { submission, signer } = publishedBy(t, outcome);
  const { context, information, policy, accessPermission: permission } = submission;
  const management = t.bench.counterparts.entity("dssm").identity;
  expectFirst(
    signer.identity === client.identity && information?.providerIdentity === client.identity,
    "a policy signed by the provider that the information names",
  );
  const { key: signed } = signer.publicKey as { key?: Uint8Array };
  const { key: stated } = (information.providerPublicKey ?? {}) as { key?: Uint8Array };
  expectFirst(
    signed === undefined || (stated !== undefined && same(signed, stated)),
    "the public key of its certificate",
  );
  expectFirst(
    context?.audience === management && policy?.managementIdentity === management,
    "a policy for this management",
  );
  const key = answerOf<RegisterKeyResponse>(outcome, registerKey);
  const stored = answerOf<RegisterPackageResponse>(outcome, registerPackage);
  for (const [who, where] of [["information", information] as const, ["permission", permission] as const])
    expect(
      where?.keyId === key.keyId &&
        where.keyAddress === key.keyAddress &&
        where.packageId === stored.packageId &&
        where.packageAddress === stored.packageAddress,
      `ids and addresses as they were registered, in the ${who}`,
    );
  expectFirst(information.attributes !== undefined && information.attributes.category !== "", "a category");
  expectFirst(
    permission?.accessTimes === terms.accessTimes &&
      permission.readOnly &&
      expirationOf(submission)?.getTime() === terms.expiration.getTime(),
    "the access times, the expiration and the read-only of the command",
  );
  return Buffer.from(context.nonce).toString("hex");
}

function answerOf<T>({ calls }: Outcome, method: ObservedCall["method"]): T {
  const call = calls.findLast((one) => one.method === method && one.code === "OK");
  expectFirst(call !== undefined, `an answered ${method.name}`);
  return call.responses[0] as T;
}

function decrypted(ciphertext: Uint8Array, { key, keyId }: Pick<Published, "key" | "keyId">): Uint8Array {
  try {
    return decryptBytes(ciphertext, key, Buffer.from(keyId, "ascii"));
  } catch {
    expect(false, "a ciphertext in the published format under the stored key, its context the key's id");
  }
}

function expectPlaintext(
  ciphertext: Uint8Array,
  published: Pick<Published, "key" | "keyId">,
  plaintext: Uint8Array,
): void {
  const found = decrypted(ciphertext, published);
  if (same(found, plaintext)) return;
  expectFirst(false, "the plaintext of {input}, byte for byte", differenceText(found, plaintext));
}

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
