// The signature algorithms that a management claims to verify (P7, DSPM1; choices of the profile): each by a user whose key is of that kind.
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { PolicyState, PolicySubmissionSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { SignatureAlgorithm } from "../../gen/x1410/v1/identity_pb.ts";
import { signMessage } from "../../reference/envelope/sign.ts";
import { createSigner, type Signer } from "../../reference/envelope/signer.ts";
import { withBitFlipped } from "../mutation.ts";
import { expect, Inconclusive } from "../procedures/procedure.ts";
import { expectRefusal } from "../refusal.ts";
import { DataProvider } from "../roles/data-provider.ts";
import type { TestCase } from "../test-case.ts";
import { draft, informationOf } from "./dssm-policy-draft.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";

interface Algorithm {
  readonly number: string;
  readonly item: string;
  readonly name: string;
  readonly value: SignatureAlgorithm;
  readonly keyPair: () => { readonly privateKey: KeyObject; readonly publicKey: KeyObject };
}

const algorithms: readonly Algorithm[] = [
  {
    number: "21",
    item: "SIGN-ECDSA-P256",
    name: "ECDSA P-256",
    value: SignatureAlgorithm.ECDSA_P256_SHA256,
    keyPair: () => generateKeyPairSync("ec", { namedCurve: "P-256" }),
  },
  {
    number: "22",
    item: "SIGN-ED25519",
    name: "Ed25519",
    value: SignatureAlgorithm.ED25519,
    keyPair: () => generateKeyPairSync("ed25519"),
  },
  {
    number: "23",
    item: "SIGN-RSA-PSS",
    name: "RSA-PSS",
    value: SignatureAlgorithm.RSA_PSS_SHA256,
    keyPair: () => generateKeyPairSync("rsa", { modulusLength: 3072 }),
  },
  {
    number: "24",
    item: "SIGN-ML-DSA-65",
    name: "ML-DSA-65",
    value: SignatureAlgorithm.ML_DSA_65,
    keyPair: mlDsa,
  },
];

function mlDsa() {
  try {
    return generateKeyPairSync("ml-dsa-65");
  } catch {
    throw new Inconclusive("the kit's own runtime has no ML-DSA: run it under Node.js 24 or later");
  }
}

/** Signs as `identity` with a key of the algorithm; its connections may well be under another certificate. */
function signerOf(t: TestCase, identity: string, { keyPair }: Algorithm): Signer {
  return createSigner(t.authority.forge(identity, { keyPair: keyPair() }));
}

export const signatureAlgorithmPurposes: readonly Purpose[] = algorithms.map((algorithm) =>
  purpose({
    id: `TP/DSSM/DSPM/BV-${algorithm.number}` as PurposeId,
    title: `verifies what a provider signs with ${algorithm.name}`,
    clause: "6.2.1",
    steps: ["F3.5", "F3.6"],
    capabilities: ["DSPM1"],
    methods: ["DataSharingPolicyService/SubmitPolicy"],
    requires: [algorithm.item],
    initialState: `a provider in session, with a further certificate for a key of ${algorithm.name}`,
    stimulus: `SubmitPolicy signed with ${algorithm.name}; the same with one bit of the payload flipped`,
    expected: "the first is taken, the second refused as SIGNATURE_INVALID",
    likelyMistake:
      "RSA-PSS with another salt length, ECDSA in IEEE P1363 form instead of DER, or Ed25519 over a digest",
    async run(t) {
      const provider = await t.freshUser(DataProvider);
      await provider.logIn();
      const made = await draft(t, undefined, provider);
      const signer = signerOf(t, provider.identity, algorithm);
      expect(signer.algorithm === algorithm.value, `a key of ${algorithm.name}`);
      informationOf(made.submission).providerPublicKey = signer.publicKey;
      const right = signMessage(signer, PolicySubmissionSchema, made.submission);
      const { state } = await provider.submit(right);
      expect(state === PolicyState.AWAITING_STORAGE, "a policy that awaits storage");
      await expectRefusal(() => provider.submit(withBitFlipped(right)), ErrorReason.SIGNATURE_INVALID);
    },
  }),
);
