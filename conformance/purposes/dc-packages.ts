// A data consumer under test: packages and keys that it must not take (clause 7.2.2, X5 and X6). The servers lie in concert: size and
// digests fit what they send, and only the provider's signature tells.
import { clone, create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type DataSharingPackage,
  DataSharingPackageSchema,
  type PackageMetadata,
  PackageMetadataSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { signMessage } from "../../reference/envelope/sign.ts";
import type { Signer } from "../../reference/envelope/signer.ts";
import { verifyEnvelope } from "../../reference/envelope/verify.ts";
import { encryptBytes } from "../../reference/symmetric-encryption/encrypt-bytes.ts";
import { expectRefused } from "../clients/client-under-test.ts";
import { access, byTheKit, type ConsumerScene, consumerScene, consumerTwin } from "../clients/consumer-scene.ts";
import { packageReplaced } from "../clients/wrong-answers.ts";
import { unary } from "../mutants/mutant.ts";
import { sha256 } from "../roles/data-provider.ts";
import type { TestCase } from "../test-case.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";

interface WrongPackage {
  readonly id: PurposeId;
  readonly title: string;
  /** What comes instead, as a sentence about it. */
  readonly what: string;
  readonly likelyMistake: string;
  readonly replacement: (stored: Uint8Array, t: TestCase, scene: ConsumerScene) => Promise<Uint8Array> | Uint8Array;
}

const rows: readonly WrongPackage[] = [
  {
    id: "TP/DC/DC/BI-01",
    title: "refuses a package whose ciphertext was changed",
    what: "one bit of the ciphertext is flipped",
    likelyMistake:
      "the digest that the data storage server announces is checked, and not the one that the provider signed",
    replacement: (stored, t) =>
      repacked(stored, ({ encryptedData }) => {
        const at = 100 + t.seededNumber(encryptedData.length - 100);
        encryptedData[at] = (encryptedData[at] ?? 0) ^ 1;
      }),
  },
  {
    id: "TP/DC/DC/BI-02",
    title: "refuses another package of the same provider",
    what: "it is another package that the same provider signed, under the same key",
    likelyMistake: "a signature of the right provider suffices, and the package id inside is not compared",
    replacement(_, t, { shared }) {
      const { provider } = t;
      const encrypted = provider.encrypt(t.seeded(shared.plaintext.length), shared.secret, shared.key);
      const other = { ...shared.stored, id: Buffer.from(t.random(16)).toString("hex") };
      return provider.package(provider.metadata(shared.key, other, encrypted.encryptedData), encrypted).bytes;
    },
  },
  {
    id: "TP/DC/DC/BI-03",
    title: "refuses a package that another user signed as if it were the provider",
    what: "another user has signed metadata that name the provider",
    likelyMistake: "the signature is verified by the certificate beside it, and nobody asks whose that is",
    replacement: (stored, t) => signedAgain(stored, t, t.consumer.signer, () => {}),
  },
  {
    id: "TP/DC/DC/BI-04",
    title: "refuses a package whose metadata name another provider than the contract",
    what: "another user has wrapped data of its own under the same package id, and signed as itself",
    likelyMistake: "the provider is taken from the package and not from the contract",
    replacement: (stored, t) =>
      signedAgain(stored, t, t.consumer.signer, (metadata) => {
        metadata.providerIdentity = t.consumer.identity;
        metadata.providerPublicKey = t.consumer.signer.publicKey;
      }),
  },
  {
    id: "TP/DC/DC/BI-05",
    title: "refuses a package whose metadata's signature does not fit",
    what: "one bit of the metadata's signature is flipped",
    likelyMistake: "the metadata are parsed and compared, and their signature is not verified",
    replacement: (stored) =>
      repacked(stored, ({ metadata }) => {
        const value = metadata?.signatures[0]?.value ?? new Uint8Array();
        value[value.length - 5] = (value[value.length - 5] ?? 0) ^ 1;
      }),
  },
  {
    id: "TP/DC/DC/BI-06",
    title: "refuses a package that ends early",
    what: "the last hundred bytes of the ciphertext are missing",
    likelyMistake: "what has arrived is decrypted as it arrives, and its end is not waited for",
    replacement: (stored) =>
      repacked(stored, (message) => {
        message.encryptedData = message.encryptedData.subarray(0, -100);
      }),
  },
  {
    id: "TP/DC/DC/BI-07",
    title: "refuses a bare ciphertext where the contract has a package",
    what: "the ciphertext comes without metadata",
    likelyMistake: "a package without metadata is treated as Annex A's, whatever the contract says",
    replacement: (stored) => fromBinary(DataSharingPackageSchema, stored).encryptedData,
  },
];

/** The package with something of it changed, serialised anew. */
function repacked(stored: Uint8Array, change: (message: DataSharingPackage) => void): Uint8Array {
  const message = clone(DataSharingPackageSchema, fromBinary(DataSharingPackageSchema, stored));
  change(message);
  return toBinary(DataSharingPackageSchema, message);
}

/** The package with its metadata changed and signed by somebody. */
function signedAgain(
  stored: Uint8Array,
  t: TestCase,
  signer: Signer,
  change: (metadata: PackageMetadata) => void,
): Uint8Array {
  return repacked(stored, (message) => {
    if (message.metadata === undefined) return;
    const { message: metadata } = verifyEnvelope(message.metadata, PackageMetadataSchema, t.trust);
    change(metadata);
    message.metadata = signMessage(signer, PackageMetadataSchema, metadata);
  });
}

const common = {
  clause: "7.2.2",
  steps: ["F4.17", "F4.18"],
  capabilities: ["X5"],
  commands: ["access"],
  initialState: "data shared with an access permission",
  expected: "another exit code than 0, and no plaintext",
  twin: "an access to the package as it was stored",
  budgetSeconds: 90,
} as const;

function wrongPackage({ id, title, what, likelyMistake, replacement }: WrongPackage): Purpose {
  return purpose({
    ...common,
    id,
    title,
    stimulus: `${what}; size and digests of management and data storage server fit`,
    diagram: [
      ["DC", "DSSM", "RequestAccess"],
      ["DSSM", "DC", "a grant with the digest of the wrong package"],
      ["DC", "DSS", "GetPackage"],
      ["DSS", "DC", what],
      ["DC", "tester", "refused"],
    ],
    likelyMistake,
    async run(t) {
      await consumerTwin(t);
      const scene = await consumerScene(t);
      const stored = await byTheKit(() => t.consumer.getPackage(scene.shared.stored.id, () => {}));
      scene.client.alter(...packageReplaced(await replacement(stored, t, scene)));
      expectRefused(await access(scene), what);
      t.seen(`refused: ${what}`);
    },
  });
}

export const consumerPackagePurposes: readonly Purpose[] = [
  ...rows.map(wrongPackage),
  purpose({
    ...common,
    id: "TP/DC/DC/BI-08",
    title: "shows no plaintext where the key storage server gives another key",
    steps: ["F4.14", "F4.18"],
    capabilities: ["X6", "C8"],
    stimulus: "GetKey answers with 32 other bytes",
    twin: "an access with the key that the provider stored",
    likelyMistake: "the encryption is used without its authentication, so that any key decrypts to something",
    async run(t) {
      await consumerTwin(t);
      const scene = await consumerScene(t);
      const key = t.random(32);
      scene.client.alter(
        unary(KeyStorageService.method.getKey, (original) => async (request, context) => ({
          ...(await original(request, context)),
          key: Uint8Array.from(key),
        })),
      );
      expectRefused(await access(scene), "the key is another one");
      t.seen("refused: another key");
    },
  }),
  purpose({
    ...common,
    id: "TP/DC/DC/BI-09",
    title: "refuses data that was encrypted under a key of the key storage server's own",
    steps: ["F4.14", "F4.17", "F4.18"],
    capabilities: ["X5", "X6"],
    stimulus: "key and ciphertext are exchanged together for ones that fit each other; the metadata are the provider's",
    twin: "an access with the provider's key and ciphertext",
    likelyMistake: "that the ciphertext decrypts is taken for proof that it is the provider's",
    async run(t) {
      await consumerTwin(t);
      const scene = await consumerScene(t);
      const stored = await byTheKit(() => t.consumer.getPackage(scene.shared.stored.id, () => {}));
      const key = t.random(32);
      const context = Buffer.from(scene.shared.key.id, "ascii");
      const { ciphertext } = encryptBytes(t.seeded(scene.shared.plaintext.length), key, context);
      const wrong = repacked(stored, (message) => {
        message.encryptedData = create(DataSharingPackageSchema, { encryptedData: ciphertext }).encryptedData;
      });
      scene.client.alter(
        ...packageReplaced(wrong),
        unary(KeyStorageService.method.getKey, (original) => async (request, context) => ({
          ...(await original(request, context)),
          key: Uint8Array.from(key),
        })),
      );
      expectRefused(await access(scene), "data and key are not the provider's");
      t.seen(`refused: a ciphertext with SHA-256 ${Buffer.from(sha256(ciphertext)).toString("hex").slice(0, 16)}…`);
    },
  }),
];
