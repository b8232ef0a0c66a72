// What an implementation shows of the ledger (F3.8, F4.4, A1.8, A2.4), checked with the trust anchors alone: the transaction is in the
// block, the block is signed, and the commitments on the ledger open to what provider and consumer have signed.
import { fromBinary, type MessageShape } from "@bufbuild/protobuf";
import type { RequestAccessResponse } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import type { PolicyRecord } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import {
  BlockHeaderSchema,
  type Commitment,
  type CommitmentOpening,
  type InclusionProof,
  type Transaction,
  type TransactionReceipt,
  TransactionSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { contractAddress } from "../../reference/communications/address.ts";
import { type Trust, verifyEnvelope } from "../../reference/envelope/verify.ts";
import { blockHash, transactionIdOf } from "../../reference/ledger/block.ts";
import { checkOpening } from "../../reference/ledger/commitment.ts";
import { verifyInclusion } from "../../reference/ledger/merkle.ts";
import { same } from "../roles/user.ts";
import { expect } from "./procedure.ts";

/** F3.8, A1.8: a contract of this policy is on the ledger and commits to what the provider signed. */
export function contractOnLedger(policy: PolicyRecord, signedPolicy: SignedEnvelope, trust: Trust): void {
  const { networkId, action } = transactionIn(policy.proof, policy.receipt, trust);
  expect(action.case === "createContract", "a transaction that creates a contract");
  expect(action.value.contractId === policy.policyId, "a contract of this policy");
  expect(policy.contractAddress === contractAddress(networkId, policy.policyId), "an address of network and contract");
  opensTo(action.value.commitments, policy.openings, signedPolicy.payload);
}

/** As above, after the policy was updated. */
export function updateOnLedger(policy: PolicyRecord, signedUpdate: SignedEnvelope, trust: Trust): void {
  const { action } = transactionIn(policy.proof, policy.receipt, trust);
  expect(action.case === "updateContract", "a transaction that updates a contract");
  expect(action.value.contractId === policy.policyId, "the contract of this policy");
  expect(action.value.version === policy.version, "the version of this policy");
  opensTo(action.value.commitments, policy.openings, signedUpdate.payload);
}

/** What RequestAccess and GetAccessRecord answer alike. */
export type AccessEvidence = Pick<RequestAccessResponse, "record" | "proof" | "openings">;

/** F4.4, A2.4: this access is on the ledger, under a pseudonym, and commits to what the consumer signed. */
export function accessOnLedger(grant: AccessEvidence, request: SignedEnvelope, consumer: string, trust: Trust): void {
  const { action } = transactionIn(grant.proof, grant.record?.receipt, trust);
  expect(action.case === "recordAccess", "a transaction that records an access");
  expect(action.value.accessId === grant.record?.accessId, "a record of this access");
  expect(grant.record.contractAddress.endsWith(`/${action.value.contractId}`), "a record of this contract");
  expect(
    !Buffer.from(grant.proof?.transaction ?? []).includes(consumer),
    "no identity of the consumer on the ledger (S1)",
  );
  opensTo(action.value.commitments, grant.openings, request.payload);
}

function transactionIn(
  proof: InclusionProof | undefined,
  receipt: TransactionReceipt | undefined,
  trust: Trust,
): MessageShape<typeof TransactionSchema> {
  expect(receipt !== undefined && proof?.header !== undefined, "a receipt and an inclusion proof");
  const { message: header } = verifyEnvelope(proof.header, BlockHeaderSchema, trust);
  expect(same(blockHash(proof.header.payload), receipt.blockHash), "the block that the receipt names");
  expect(header.height === receipt.blockHeight, "the height that the receipt names");
  expect(
    verifyInclusion(proof.transaction, proof.index, header.transactionCount, proof.path, header.transactionsRoot),
    "a path from the transaction to the root that the block signs",
  );
  const envelope = fromBinary(SignedEnvelopeSchema, proof.transaction);
  expect(transactionIdOf(envelope.payload) === receipt.transactionId, "the transaction that the receipt names");
  const { message: transaction, signer } = verifyEnvelope(envelope, TransactionSchema, trust);
  expect(signer.identity === transaction.signer, "a transaction signed by the management that it names");
  return transaction as Transaction;
}

/** Every commitment opens, and one of them to exactly the bytes that the user signed. */
function opensTo(commitments: readonly Commitment[], openings: readonly CommitmentOpening[], signed: Uint8Array): void {
  expect(commitments.length > 0, "commitments on the ledger");
  for (const commitment of commitments) {
    const opening = openings.find(({ name }) => name === commitment.name);
    expect(
      opening !== undefined && checkOpening(commitment, opening),
      `an opening of the commitment "${commitment.name}"`,
    );
  }
  expect(
    openings.some(({ value }) => same(value, signed)),
    "a commitment to the very bytes that were signed",
  );
}
