import { clone, create, toBinary } from "@bufbuild/protobuf";
import { afterAll, describe, expect, test } from "vitest";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import {
  type BlockHeader,
  BlockHeaderSchema,
  CreateContractSchema,
  type InclusionProof,
  InclusionProofSchema,
  NetworkParametersSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { signMessage } from "../envelope/sign.ts";
import { beforeFirstBlock, decodeHeader, formBlock, proofsOf } from "../ledger/block.ts";
import { commit } from "../ledger/commitment.ts";
import { signTransaction } from "../ledger/transaction.ts";
import { checkEvidence, EvidenceError } from "./evidence.ts";
import { userFixture } from "./user.fixture.ts";

const fixture = userFixture();
afterAll(() => fixture.remove());
const alice = fixture.user("alice", {});
const contractId = "0".repeat(32);
const words = Buffer.from("what was signed");
const action = () => ({ case: "createContract" as const, value: create(CreateContractSchema, { contractId }) });
const { proof, openings } = fixture.recorded(action(), { "signed-policy": words });

/** The proof of one transaction alone in a block of this node. */
function blockOf({ manager = "one", node = "one", networkId = "test", inBlock = "test" } = {}): InclusionProof {
  const { envelope } = signTransaction(fixture.signer("dssm", manager), networkId, action(), new Date());
  const { block } = formBlock({
    networkId: inBlock,
    previous: beforeFirstBlock,
    transactions: [envelope],
    timeUnixMs: BigInt(Date.now()),
    proposer: fixture.signer("ledger", node),
  });
  return proofsOf(block)(0);
}

function altered(alter: (proof: InclusionProof) => void): InclusionProof {
  const copy = clone(InclusionProofSchema, proof);
  alter(copy);
  return copy;
}

/** The header of the block, changed, and signed by its node all the same. */
function signedHeader(change: Partial<BlockHeader>): SignedEnvelope {
  const header = decodeHeader(proof.header?.payload ?? new Uint8Array());
  return signMessage(fixture.signer("ledger", "one"), BlockHeaderSchema, { ...header, ...change });
}

test("evidence that holds says what is on the ledger, and what its commitments stand for", () => {
  const recorded = checkEvidence({ proof, openings }, alice);
  expect(recorded).toMatchObject({ action: { case: "createContract", value: { contractId } }, blockHeight: 1n });
  expect(recorded.values).toEqual(new Map([["signed-policy", words]]));
  expect(checkEvidence({ proof: blockOf(), openings: [] }, alice)).toMatchObject({ blockHeight: 1n });
});

describe("evidence does not hold", () => {
  test.each<[string, () => InclusionProof | undefined, string]>([
    ["without a proof", () => undefined, "gave no proof"],
    ["without a header", () => altered((one) => Reflect.deleteProperty(one, "header")), "gave no proof"],
    [
      "with a transaction that is none",
      () => altered((one) => Object.assign(one, { transaction: Buffer.from("no") })),
      "no transaction that can be read",
    ],
    [
      "with another transaction than the block's",
      () => altered((one) => Object.assign(one, { transaction: blockOf().transaction })),
      "does not hold: inclusion",
    ],
    [
      "with a header that nobody signed",
      () => altered(({ header }) => Object.assign(header ?? {}, { signatures: [] })),
      "does not hold: header-signature: SIGNATURE_MISSING",
    ],
    [
      "with a header that breaks the rules of one",
      () => altered((one) => Object.assign(one, { header: signedHeader({ previousHash: words }) })),
      "does not hold: header-rules: PAYLOAD_MALFORMED",
    ],
    [
      "with a transaction that nobody signed",
      () =>
        altered((one) => {
          const bare = create(SignedEnvelopeSchema, { payload: words, payloadType: "text/plain" });
          Object.assign(one, { transaction: toBinary(SignedEnvelopeSchema, bare) });
        }),
      "does not hold: transaction-signature: SIGNATURE_MISSING",
    ],
    ["of another network", () => blockOf({ networkId: "other", inBlock: "other" }), "does not hold: network"],
    ["of a transaction for another network", () => blockOf({ networkId: "other" }), "hold: network"],
    [
      "of a node that is not of the network",
      () => blockOf({ node: "other" }),
      "is not signed by a ledger node of this",
    ],
    [
      "of another management",
      () => blockOf({ manager: "other" }),
      "is signed by urn:x1410:entity:dssm:other, not by urn:x1410:entity:dssm:one",
    ],
  ])("%s", (_, given, why) => {
    const check = () => checkEvidence({ proof: given(), openings: [] }, alice);
    expect(check).toThrow(EvidenceError);
    expect(check).toThrow(why);
  });

  test("with an opening of something else", () => {
    for (const opening of [commit("signed-policy", words).opening, commit("usage", words).opening])
      expect(() => checkEvidence({ proof, openings: [opening] }, alice)).toThrow(
        `the opening of "${opening.name}" does not open what is on the ledger`,
      );
  });

  test("of a network that names no node", () => {
    const network = create(NetworkParametersSchema, { networkId: "test" });
    expect(() => checkEvidence({ proof, openings }, { ...alice, network })).toThrow("is not signed by a ledger node");
  });
});
