// A data provider under test (clauses 6.2.1 and 7.2.1): what it sends where nothing is wrong, step by step, and the terms that it signs.
import { DataSharingPolicyService } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService, type RegisterPackageResponse } from "../../gen/x1410/v1/data_storage_pb.ts";
import { KeyStorageService, type RegisterKeyResponse } from "../../gen/x1410/v1/key_storage_pb.ts";
import { UserAuthenticationService } from "../../gen/x1410/v1/user_authentication_pb.ts";
import { valuesIn } from "../canary-scan.ts";
import type { Outcome } from "../clients/client-under-test.ts";
import { expectOrder } from "../clients/consumer-scene.ts";
import type { ObservedCall } from "../clients/observation.ts";
import {
  decrypted,
  expectPlaintext,
  expirationOf,
  opened,
  type ProviderScene,
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
export function sharing(input: string, stored: string, ...looked: readonly Arrow[]): readonly Arrow[] {
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

export const publishing = {
  commands: ["publish"],
  initialState: "the kit's servers around the client",
  budgetSeconds: 90,
} as const;

export const providerPublicationPurposes: readonly Purpose[] = [
  purpose({
    ...publishing,
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
    ...publishing,
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
    ...publishing,
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
    ...publishing,
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
