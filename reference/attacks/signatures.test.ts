// Attacks on signed requests at the running management (DSPM; clauses 6.2.2, 7.2.3, 7.3.1).
import { randomBytes } from "node:crypto";
import { dirname, join } from "node:path";
import { clone } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { withBitFlipped } from "../../conformance/mutation.ts";
import { expectRefusal } from "../../conformance/refusal.ts";
import type { Credential } from "../../conformance/target.ts";
import { type PolicySubmission, PolicySubmissionSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataSharingPolicyService } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { SignatureAlgorithm } from "../../gen/x1410/v1/identity_pb.ts";
import { signMessage } from "../envelope/sign.ts";
import { createSigner } from "../envelope/signer.ts";
import { readProfile } from "../user/profile.ts";
import { User } from "../user/user.ts";
import { type Door, doors, type Faults, rigForFile } from "./attack-rig.fixture.ts";
import { change, draftOf, informationOf, nobodyElse, policyOf, refusedWith } from "./policy-draft.fixture.ts";

const rig = rigForFile();
const silent = () => {};
const codeSigning = "1.3.6.1.5.5.7.3.3";
const draft = (door: Door, edit?: (submission: PolicySubmission) => void) => draftOf(rig().provider(door), edit);

function edited(envelope: SignedEnvelope, edit: (copy: SignedEnvelope) => void): SignedEnvelope {
  const copy = clone(SignedEnvelopeSchema, envelope);
  edit(copy);
  return copy;
}

describe.each(doors)("signed requests through the %s", (door) => {
  const spoilt: [string, (envelope: SignedEnvelope) => SignedEnvelope, ErrorReason][] = [
    ["signature stripped", (e) => edited(e, (c) => change(c, { signatures: [] })), ErrorReason.SIGNATURE_MISSING],
    ["one bit flipped", withBitFlipped, ErrorReason.SIGNATURE_INVALID],
    [
      "its payload type exchanged",
      (e) => edited(e, (c) => change(c, { payloadType: "application/vnd.x1410.v1.policy-update" })),
      ErrorReason.PAYLOAD_TYPE_MISMATCH,
    ],
    [
      "an algorithm that is not its key's",
      (e) => edited(e, ({ signatures: [s] }) => change(s, { algorithm: SignatureAlgorithm.ED25519 })),
      ErrorReason.ALGORITHM_NOT_ALLOWED,
    ],
    [
      "no algorithm",
      (e) => edited(e, ({ signatures: [s] }) => change(s, { algorithm: SignatureAlgorithm.UNSPECIFIED })),
      ErrorReason.ALGORITHM_NOT_ALLOWED,
    ],
    [
      "an algorithm that is on no list",
      (e) => edited(e, ({ signatures: [s] }) => change(s, { algorithm: 99 as SignatureAlgorithm })),
      ErrorReason.ALGORITHM_NOT_ALLOWED,
    ],
    [
      "no certificate",
      (e) => edited(e, ({ signatures: [s] }) => change(s, { certificate: undefined })),
      ErrorReason.SIGNER_UNTRUSTED,
    ],
    [
      "garbage for a certificate",
      (e) => edited(e, ({ signatures: [s] }) => void s?.certificate?.certificates.splice(0, 1, randomBytes(300))),
      ErrorReason.SIGNER_UNTRUSTED,
    ],
    [
      "a second signature",
      (e) => edited(e, (c) => void c.signatures.push(...c.signatures)),
      ErrorReason.REQUEST_INVALID,
    ],
  ];

  test.each(spoilt)("refused: %s", async (_, spoil, reason) => {
    const { provider, submission } = await draft(door);
    const signed = provider.sign(submission);
    await expectRefusal(() => provider.submit(spoil(signed)), reason);
    await provider.submit(signed);
  });

  test("refused: a valid envelope of another kind", async () => {
    const { provider, key, stored, submission } = await draft(door);
    const { encryptedData } = provider.encrypt(Buffer.from("x"), randomBytes(32), key);
    await expectRefusal(
      () => provider.submit(provider.metadata(key, stored, encryptedData)),
      ErrorReason.PAYLOAD_TYPE_MISMATCH,
    );
    const dressedUp = edited(provider.metadata(key, stored, encryptedData), (copy) => {
      copy.payloadType = provider.sign(submission).payloadType;
    });
    await expectRefusal(() => provider.submit(dressedUp), ErrorReason.SIGNATURE_INVALID);
  });

  test("refused: signed, and no message of its kind", async () => {
    const { provider, submission } = await draft(door);
    const { payloadType } = provider.sign(submission);
    const nonsense = provider.signer.sign(payloadType, randomBytes(64));
    await expectRefusal(() => provider.submit(nonsense), ErrorReason.PAYLOAD_MALFORMED);
  });

  const yesterday = Date.now() - 24 * 60 * 60_000;
  const under: [string, Faults][] = [
    ["has expired", { notBefore: new Date(yesterday - 1_000), notAfter: new Date(yesterday) }],
    ["is for servers only", { extendedKeyUsage: ["serverAuth"] }],
    ["is for OCSP only", { extendedKeyUsage: ["OCSPSigning"] }],
    ["is for code only", { extendedKeyUsage: [codeSigning] }],
    ["has no extended key usage", { extendedKeyUsage: null }],
  ];

  test.each(under)(
    "refused: signed under a certificate that %s, on a connection whose own is good",
    async (_, faults) => {
      const { provider, submission } = await draft(door);
      const subjectAltNames = [{ type: "uri", value: provider.identity }] as const;
      const signedUnder = (credential: Credential) => {
        const signer = createSigner(credential);
        const copy = clone(PolicySubmissionSchema, submission);
        informationOf(copy).providerPublicKey = signer.publicKey;
        return signMessage(signer, PolicySubmissionSchema, copy);
      };
      const faulty = rig().forge({ subjectAltNames, ...faults });
      const good = rig().forge({ subjectAltNames, extendedKeyUsage: [codeSigning, "serverAuth", "clientAuth"] });
      await expectRefusal(() => provider.submit(signedUnder(faulty)), ErrorReason.SIGNER_UNTRUSTED);
      await provider.submit(signedUnder(good));
    },
  );

  test("refused: the signer is not the one of the connection, identical bytes of another included", async () => {
    const { provider, submission } = await draft(door);
    const signed = provider.sign(submission);
    const thief = rig().provider(door, rig().target.consumer);
    await thief.authenticate(silent);
    await expectRefusal(() => thief.submit(signed), ErrorReason.SIGNER_NOT_CALLER);
    const { policyId } = await provider.submit(signed);
    await expectRefusal(() => thief.submit(signed), ErrorReason.SIGNER_NOT_CALLER);
    const client = thief.client(DataSharingPolicyService, "dssm");
    await expectRefusal(() => client.getPolicy({ policyId }, thief.inSession), ErrorReason.POLICY_NOT_FOUND);
    await expectRefusal(() => client.confirmStorage({ policyId }, thief.inSession), ErrorReason.POLICY_NOT_FOUND);
  });

  test("refused: another provider in the payload, another public key, another context", async () => {
    const victim = "urn:x1410:user:consumer";
    const { publicKey } = createSigner(rig().target.consumer);
    await refusedWith(
      await draft(door),
      (s) => change(informationOf(s), { providerIdentity: victim }),
      ErrorReason.PARTY_NOT_SIGNER,
    );
    await refusedWith(
      await draft(door),
      (s) => change(informationOf(s), { providerPublicKey: publicKey }),
      ErrorReason.PARTY_NOT_SIGNER,
    );
    await refusedWith(
      await draft(door),
      ({ context: c }) => change(c, { signer: victim }),
      ErrorReason.PARTY_NOT_SIGNER,
    );
  });

  test("refused: meant for another management, or signed at another time", async () => {
    const other = "urn:x1410:entity:dssm:other";
    const at = (ms: number) => timestampFromDate(new Date(Date.now() + ms));
    const { AUDIENCE_MISMATCH, SIGNED_TIME_OUT_OF_WINDOW } = ErrorReason;
    await refusedWith(await draft(door), ({ context: c }) => change(c, { audience: other }), AUDIENCE_MISMATCH);
    await refusedWith(await draft(door), (s) => change(policyOf(s), { managementIdentity: other }), AUDIENCE_MISMATCH);
    await refusedWith(
      await draft(door),
      ({ context: c }) => change(c, { issuedAt: at(-365_000) }),
      SIGNED_TIME_OUT_OF_WINDOW,
    );
    await refusedWith(
      await draft(door),
      ({ context: c }) => change(c, { issuedAt: at(65_000) }),
      SIGNED_TIME_OUT_OF_WINDOW,
    );
  });

  test("the same nonce under other bytes is refused; identical bytes get the first answer, and one policy", async () => {
    const { provider, submission } = await draft(door);
    const signed = provider.sign(submission);
    const first = await provider.submit(signed);
    expect(await provider.submit(signed)).toEqual(first);
    const other = clone(PolicySubmissionSchema, submission);
    policyOf(other).policyId = randomBytes(16).toString("hex");
    await expectRefusal(() => provider.submit(provider.sign(other)), ErrorReason.NONCE_REUSED);
    const client = provider.client(DataSharingPolicyService, "dssm");
    await expectRefusal(
      () => client.getPolicy({ policyId: policyOf(other).policyId }, provider.inSession),
      ErrorReason.POLICY_NOT_FOUND,
    );
  });

  test("a policy id that another provider has taken gives nothing away", async () => {
    const one = await draft(door);
    await one.provider.submit(one.provider.sign(one.submission));
    const other = rig().provider(door, rig().target.consumer);
    await other.authenticate(silent);
    const key = await other.registerKey(silent);
    const stored = await other.registerPackage(silent);
    const submission = other.submission(other.information(key, stored), other.permission(key, stored, nobodyElse));
    policyOf(submission).policyId = policyOf(one.submission).policyId;
    await expectRefusal(() => other.submit(other.sign(submission)), ErrorReason.POLICY_STATE_INVALID);
  });
});

test("a user believes no signer whose certificate is for servers only", async () => {
  const profile = await readProfile(join(dirname(rig().stack.operator.profile), "provider.json"));
  const user = await User.connect(profile);
  user.close();
  const subjectAltNames = [{ type: "uri", value: rig().identity("dssm") }] as const;
  const forge = (...extendedKeyUsage: string[]) => rig().forge({ subjectAltNames, extendedKeyUsage }).der;
  expect(() => user.trust.verify(forge("serverAuth"), [])).toThrow(
    expect.objectContaining({ code: "wrong_extended_key_usage" }),
  );
  expect(user.trust.verify(forge("serverAuth", "clientAuth"), []).identity).toBe(rig().identity("dssm"));
});
