// What a data-sharing service management puts on the ledger and what not (S1, clause 6), and what it says of the ledger (clause 6.1). The
// ledger itself is outside the entities under test: judged are the transactions that the management shows with its proofs.
import { createHash } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import { SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { type InclusionProof, TransactionSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { expect } from "../procedures/procedure.ts";
import { same, type User } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import { currentPolicy, draft, informationOf, published } from "./dssm-policy-draft.ts";
import { sharedData } from "./dssm-shared-data.ts";
import { type Purpose, purpose } from "./purpose.ts";

interface Personal {
  readonly what: string;
  readonly value: string | Uint8Array;
}

/** Whatever tells who a user is: its identity, its key, its certificate, in the forms in which they are written down. */
function identifying(who: string, user: User): readonly Personal[] {
  const { certificates = [] } = user.signer.certificate;
  const [leaf = new Uint8Array()] = certificates;
  const { certificateSha256 } = user;
  return [
    { what: `the ${who}'s identity`, value: user.identity },
    { what: `the digest of the ${who}'s identity`, value: createHash("sha256").update(user.identity).digest() },
    { what: `the ${who}'s public key`, value: user.signer.publicKey.spki },
    { what: `the ${who}'s certificate`, value: leaf },
    { what: `the fingerprint of the ${who}'s certificate`, value: certificateSha256 },
    { what: `the fingerprint of the ${who}'s certificate`, value: Buffer.from(certificateSha256).toString("hex") },
  ];
}

/** No byte of these is in the transaction or in the header of its block. */
function expectNone(proof: InclusionProof | undefined, values: readonly Personal[]): void {
  expect(proof?.header !== undefined && proof.transaction.length > 0, "the transaction, with its block");
  const shown = [Buffer.from(proof.transaction), Buffer.from(proof.header.payload)];
  for (const { what, value } of values)
    expect(!shown.some((bytes) => bytes.includes(Buffer.from(value))), `no trace of ${what} on the ledger`);
}

function actionOf(proof: InclusionProof | undefined) {
  const { payload } = fromBinary(SignedEnvelopeSchema, proof?.transaction ?? new Uint8Array());
  return fromBinary(TransactionSchema, payload).action;
}

const nodeStatus = (user: User) => user.client(SystemManagementService, "dssm").getNodeStatus({});
const onLedger = { clause: "6", capabilities: ["S1", "S4"] } as const;

async function accessOf(t: TestCase, found: Awaited<ReturnType<typeof sharedData>>["found"]) {
  const grant = await t.consumer.requestAccess(t.consumer.signRequest(t.consumer.accessRequest(found)));
  const action = actionOf(grant.proof);
  expect(action.case === "recordAccess", "a transaction that records the access");
  return { grant, pseudonym: action.value.consumerPseudonym };
}

export const ledgerPurposes: readonly Purpose[] = [
  purpose({
    ...onLedger,
    id: "TP/DSSM/DSPM/BV-13",
    title: "puts of a policy nothing on the ledger that tells who shares what with whom",
    steps: ["F3.6", "F3.8", "A1.8"],
    methods: ["DataSharingPolicyService/GetPolicy"],
    initialState: "a policy recorded, for one user, with an introduction, keywords and terms",
    stimulus: "the transaction of its contract, as the management proves it",
    expected: "commitments, and no trace of provider, user, addresses or texts",
    likelyMistake: "the signed policy itself is the transaction, or its digest without a salt",
    async run(t) {
      const made = await draft(t);
      const { allowed, attributes, keyAddress, packageAddress } = informationOf(made.submission);
      const secretText = t.freshName("introduction");
      if (attributes) attributes.introduction = secretText;
      allowed?.users.push(t.consumer.identity);
      const signed = made.provider.sign(made.submission).payload;
      const { policyId } = await published(t, made);
      const { proof } = await currentPolicy(made.provider, policyId);
      expectNone(proof, [
        ...identifying("provider", made.provider),
        ...identifying("allowed user", t.consumer),
        { what: "the introduction", value: secretText },
        { what: "the terms", value: made.submission.policy?.terms ?? "" },
        { what: "the key's address", value: keyAddress },
        { what: "the package's address", value: packageAddress },
        { what: "the digest of the signed policy without a salt", value: createHash("sha256").update(signed).digest() },
      ]);
    },
  }),
  purpose({
    ...onLedger,
    id: "TP/DSSM/DSAM/BV-12",
    title: "puts of an access nothing on the ledger that tells who has what",
    steps: ["F4.4", "A2.4"],
    methods: ["DataSharingAccessService/RequestAccess"],
    initialState: "data shared with an access permission",
    stimulus: "the transaction of an access, as the management proves it",
    expected: "a pseudonym and commitments, and no trace of consumer, provider, purpose or token",
    likelyMistake: "the signed access request is the transaction",
    async run(t) {
      const { found, key } = await sharedData(t, { accessTimes: 2, readOnly: true });
      const request = { ...t.consumer.accessRequest(found), purpose: t.freshName("purpose") };
      const { proof, accessToken } = await t.consumer.requestAccess(t.consumer.signRequest(request));
      expectNone(proof, [
        ...identifying("consumer", t.consumer),
        ...identifying("provider", t.provider),
        { what: "the purpose", value: request.purpose },
        { what: "the key's address", value: key.address },
        { what: "the token", value: accessToken },
        { what: "the token's signature", value: Buffer.from(accessToken.split(".")[2] ?? "", "base64url") },
      ]);
    },
  }),
  purpose({
    ...onLedger,
    id: "TP/DSSM/DSAM/BV-13",
    title: "gives a consumer one pseudonym for each contract, and none that two contracts share",
    steps: ["F4.4"],
    methods: ["DataSharingAccessService/RequestAccess"],
    initialState: "data shared under two contracts",
    stimulus: "two accesses to the first contract, one to the second, by one consumer; one to the first by another",
    expected: "the same pseudonym twice, then others",
    likelyMistake: "the pseudonym is a digest of the identity alone: whoever knows the name finds every access",
    async run(t) {
      const first = await sharedData(t, { accessTimes: 3, readOnly: true });
      const second = await sharedData(t, { accessTimes: 3, readOnly: true });
      const one = await accessOf(t, first.found);
      const again = await accessOf(t, first.found);
      const elsewhere = await accessOf(t, second.found);
      const other = await t.inSession(t.secondConsumer);
      const others = await other.requestAccess(other.signRequest(other.accessRequest(first.found)));
      const action = actionOf(others.proof);
      expect(same(one.pseudonym, again.pseudonym), "the same pseudonym for the same contract");
      expect(!same(one.pseudonym, elsewhere.pseudonym), "another pseudonym for another contract");
      expect(
        action.case === "recordAccess" && !same(one.pseudonym, action.value.consumerPseudonym),
        "another pseudonym for another consumer",
      );
    },
  }),
  purpose({
    id: "TP/DSSM/API/CA-06",
    title: "says how the ledger is: that it accepts blocks, and its height, which grows with each record",
    clause: "6.1",
    capabilities: ["S4"],
    methods: ["SystemManagementService/GetNodeStatus"],
    initialState: "a ledger that accepts blocks",
    stimulus: "GetNodeStatus; a policy recorded; GetNodeStatus",
    expected: "accepting, not stopped, and a height at or above that of the policy's block",
    likelyMistake: "the height is that of the start",
    async run(t) {
      const before = await nodeStatus(t.provider);
      expect(before.accepting, "a node that accepts blocks");
      expect(before.stoppedAtHeight === 0n && before.stoppedBecause === "", "nothing that it stopped at");
      const { receipt } = await published(t, await draft(t));
      expect(receipt !== undefined && receipt.blockHeight > before.height, "a block after that height");
      const after = await nodeStatus(t.provider);
      expect(after.height >= receipt.blockHeight, `a height of ${receipt.blockHeight} at least (got ${after.height})`);
    },
  }),
];
