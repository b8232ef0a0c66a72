// The DLT transactions of a policy (DSPM2; F3.6, A1.6): ids, limit and end of the contract in the clear, everything else as commitments whose
// openings stay off-chain (clause 6, S1).
import { create, fromBinary } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import {
  CreateContractSchema,
  TransactionSchema,
  UpdateContractSchema,
  WithdrawContractSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import type { Signer } from "../envelope/signer.ts";
import { commit as commitTo } from "../ledger/commitment.ts";
import { signTransaction, type TransactionAction } from "../ledger/transaction.ts";
import { type LedgerChange, type Terms, termsOf } from "./policy-store.ts";

export interface LedgerSigning {
  readonly signer: Signer;
  readonly networkId: string;
  readonly now: () => Date;
}

/** The contract of a submitted policy. */
export function createContract(signing: LedgerSigning, signedPolicy: SignedEnvelope): LedgerChange {
  const terms = termsOf(signedPolicy, []);
  const { commitment, opening } = commitTo("signed-policy", signedPolicy.payload);
  const value = create(CreateContractSchema, {
    contractId: terms.policy.policyId,
    withAccessPermission: terms.accessPermission !== undefined,
    ...limitsOf(terms),
    commitments: [commitment],
  });
  const transaction = signedTransaction(signing, { case: "createContract", value });
  return { kind: "create", transaction, openings: [opening] };
}

/** The next version of a contract. */
export function updateContract(signing: LedgerSigning, signed: SignedEnvelope): LedgerChange {
  const terms = termsOf(signed, []);
  const { commitment, opening } = commitTo("signed-policy", signed.payload);
  const value = create(UpdateContractSchema, {
    contractId: terms.policy.policyId,
    version: terms.policy.version,
    ...limitsOf(terms),
    commitments: [commitment],
  });
  const transaction = signedTransaction(signing, { case: "updateContract", value });
  return { kind: "update", transaction, signed, openings: [opening] };
}

/** The end of a contract. */
export function withdrawContract(signing: LedgerSigning, contractId: string, signed: SignedEnvelope): LedgerChange {
  const { commitment, opening } = commitTo("withdrawal", signed.payload);
  const value = create(WithdrawContractSchema, { contractId, commitments: [commitment] });
  const transaction = signedTransaction(signing, { case: "withdrawContract", value });
  return { kind: "withdraw", transaction, signed, openings: [opening] };
}

/**
 * A transaction that was made but never submitted, signed anew where the management's certificate has changed meanwhile: a provider may
 * take longer to store its data than a certificate lives.
 */
export function freshlySigned(signing: LedgerSigning, change: LedgerChange): LedgerChange {
  const envelope = fromBinary(SignedEnvelopeSchema, change.transaction);
  const [signedBy] = envelope.signatures[0]?.certificate?.certificates ?? [];
  const [current] = signing.signer.certificate.certificates;
  if (signedBy !== undefined && current !== undefined && Buffer.compare(signedBy, current) === 0) return change;
  const { action } = fromBinary(TransactionSchema, envelope.payload);
  return { ...change, transaction: signedTransaction(signing, action) };
}

/** What the contract enforces: no limit and no end unless the provider set one; of two ends, the earlier. */
function limitsOf({ policy, accessPermission }: Terms): { accessTimes: number; expiration?: Timestamp } {
  const ends = [policy.validUntil, accessPermission?.expiration].filter((end) => end !== undefined);
  const [expiration] = ends.sort((one, other) => timestampDate(one).getTime() - timestampDate(other).getTime());
  return { accessTimes: accessPermission?.accessTimes ?? 0, ...(expiration === undefined ? {} : { expiration }) };
}

/** These bytes are the transaction and are never made again. */
function signedTransaction({ signer, networkId, now }: LedgerSigning, action: TransactionAction): Uint8Array {
  return signTransaction(signer, networkId, action, now()).envelope;
}
