// Evidence as servers hand it out, in JSON: with a proof and openings comes what they are about, an access record or a policy. All of it may have
// been altered since, so all of it is held against the transaction; what the ledger says nothing of is named.
import { equals, fromBinary, fromJson, type JsonValue } from "@bufbuild/protobuf";
import {
  type AccessRecord,
  AccessRecordSchema,
  PolicyState,
  PolicySubmissionSchema,
  PolicyUpdateSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { type PolicyRecord, PolicyRecordSchema } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import {
  type CommitmentOpening,
  CommitmentOpeningSchema,
  InclusionProofSchema,
  type Transaction,
  TransactionReceiptSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { contractAddress } from "../communications/address.ts";
import { type Trust, verifyEnvelope } from "../envelope/verify.ts";
import { decodeEnvelope, transactionIdOf } from "./block.ts";
import { whyOf } from "./block-verification.ts";
import { checkOpening, commitmentsOf } from "./commitment.ts";
import { contractActionOf } from "./transaction.ts";
import type { Evidence } from "./verify.ts";

export interface HandedEvidence extends Evidence {
  readonly openings: readonly CommitmentOpening[];
  readonly record?: AccessRecord;
  readonly policy?: PolicyRecord;
  /** Parts that are of no kind known here. */
  readonly others: readonly string[];
}

/** Something that was handed out and is not what stands on the ledger; the message says what. */
export class HandedFault extends Error {
  override readonly name = "HandedFault";
}

/** What was found to hold. */
export interface HandedVerdict {
  readonly opened: readonly CommitmentOpening[];
  /** Commitments without an opening. */
  readonly sealed: readonly string[];
  /** Openings of what an earlier transaction commits to: this one cannot show that they are right. */
  readonly elsewhere: readonly string[];
  /** What the record or policy says and the ledger does not. */
  readonly unproven: readonly string[];
}

/** @throws SyntaxError, or the parser's error */
export function parseEvidence(json: string): HandedEvidence {
  const message = JSON.parse(json) as { [name: string]: JsonValue | undefined };
  if (typeof message !== "object" || message === null || message["proof"] === undefined)
    throw new SyntaxError("the proof is missing");
  const proof = fromJson(InclusionProofSchema, message["proof"]);
  const record = message["record"] === undefined ? undefined : fromJson(AccessRecordSchema, message["record"]);
  const policy = message["policyId"] === undefined ? undefined : fromJson(PolicyRecordSchema, message as JsonValue);
  const top = message["receipt"] === undefined ? undefined : fromJson(TransactionReceiptSchema, message["receipt"]);
  const receipt = top ?? record?.receipt;
  if (
    record?.receipt !== undefined &&
    receipt !== undefined &&
    !equals(TransactionReceiptSchema, receipt, record.receipt)
  )
    throw new SyntaxError("its two receipts differ");
  const openings = ((message["openings"] ?? []) as JsonValue[]).map((one) => fromJson(CommitmentOpeningSchema, one));
  const known = new Set(["proof", "openings", "record", "receipt"]);
  return {
    transactionId: receipt?.transactionId ?? transactionIdOf(decodeEnvelope(proof.transaction).payload),
    envelope: proof.transaction,
    proof,
    openings,
    ...(receipt && { receipt }),
    ...(record && { record }),
    ...(policy && { policy }),
    others: policy === undefined ? Object.keys(message).filter((name) => !known.has(name)) : [],
  };
}

/**
 * Holds what came with a proof against the transaction that the proof has shown to be on the ledger.
 * @param trust as it judges signatures in the transaction's block
 * @throws HandedFault
 */
export function checkHanded(
  { openings, record, policy }: HandedEvidence,
  { action, networkId }: Pick<Transaction, "action" | "networkId">,
  trust: Trust,
): HandedVerdict {
  const commitments = commitmentsOf(action);
  const opened: CommitmentOpening[] = [];
  const elsewhere: string[] = [];
  for (const opening of openings) {
    const commitment = commitments.find(({ name }) => name === opening.name);
    // A policy keeps the openings of its terms when it is withdrawn; the withdrawal commits to itself alone.
    if (commitment === undefined && action.case === "withdrawContract") {
      elsewhere.push(opening.name);
      continue;
    }
    if (commitment === undefined || !checkOpening(commitment, opening))
      throw new HandedFault(`the opening of "${opening.name}" does not open what is on the ledger`);
    opened.push(opening);
  }
  if (record !== undefined) checkRecord(record, opened, action, networkId);
  if (policy !== undefined) checkPolicy(policy, opened, { action, networkId }, trust);
  const sealed = commitments.map(({ name }) => name).filter((name) => opened.every((one) => one.name !== name));
  return { opened, sealed, elsewhere, unproven: unprovenOf(record, policy) };
}

function checkRecord(
  record: AccessRecord,
  opened: readonly CommitmentOpening[],
  action: Transaction["action"],
  networkId: string,
): void {
  const isAccess =
    action.case === "recordAccess" &&
    action.value.accessId === record.accessId &&
    contractAddress(networkId, action.value.contractId) === record.contractAddress;
  if (!isAccess) throw new HandedFault("the transaction is not that of the access record");
  const value = opened.find(({ name }) => name === "record")?.value;
  if (value === undefined) throw new HandedFault('nothing opens "record": the access record cannot be checked');
  const { receipt: _receipt, ...rest } = record;
  if (!equals(AccessRecordSchema, fromBinary(AccessRecordSchema, value), { ...rest, note: "", archived: false }))
    throw new HandedFault("the access record is not the one that the ledger commits to");
}

function checkPolicy(
  policy: PolicyRecord,
  opened: readonly CommitmentOpening[],
  transaction: Pick<Transaction, "action" | "networkId">,
  trust: Trust,
): void {
  const action = contractActionOf(policy, transaction);
  if (action === undefined) throw new HandedFault("the transaction is not that of the policy");
  if ((policy.state === PolicyState.WITHDRAWN) !== (action.case === "withdrawContract"))
    throw new HandedFault(`the state of the policy is not what ${action.case} makes of it`);
  if (action.case === "withdrawContract") return;
  const value = opened.find(({ name }) => name === "signed-policy")?.value;
  if (value === undefined) throw new HandedFault('nothing opens "signed-policy": the policy cannot be checked');
  if (policy.signedPolicy === undefined || Buffer.compare(value, policy.signedPolicy.payload) !== 0)
    throw new HandedFault("the policy is not the one that the ledger commits to");
  checkSignedPolicy(policy, policy.signedPolicy, action.case, trust);
}

/** The ledger commits to the words alone: that the provider named in them has signed them, only its own signature shows. */
function checkSignedPolicy(
  { policyId, version }: PolicyRecord,
  envelope: SignedEnvelope,
  action: "createContract" | "updateContract",
  trust: Trust,
): void {
  let signed: ReturnType<typeof verifyEnvelope<typeof PolicySubmissionSchema | typeof PolicyUpdateSchema>>;
  try {
    signed = verifyEnvelope(envelope, action === "createContract" ? PolicySubmissionSchema : PolicyUpdateSchema, trust);
  } catch (cause) {
    throw new HandedFault(`the provider's signature of the policy does not verify: ${whyOf(cause)}`);
  }
  const { context, information, policy } = signed.message;
  const { identity } = signed.signer;
  if (context?.signer !== identity || information?.providerIdentity !== identity)
    throw new HandedFault(`the policy is signed by ${identity}, who is not the provider that it names`);
  if (policy?.policyId !== policyId || policy.version !== version)
    throw new HandedFault("id and version of the policy are not those that its provider has signed");
}

function unprovenOf(record: AccessRecord | undefined, policy: PolicyRecord | undefined): string[] {
  const ofRecord = record === undefined ? [] : [record.note === "" ? "" : "note", record.archived ? "archived" : ""];
  return [...ofRecord, ...(policy === undefined ? [] : unprovenOfPolicy(policy))].filter((name) => name !== "");
}

/** How far a policy is only its management says; what a withdrawn one was, an earlier transaction commits to. */
function unprovenOfPolicy({ state, pending }: PolicyRecord): string[] {
  const others = ["submittedAt", pending.length > 0 ? "pending" : ""];
  return state === PolicyState.WITHDRAWN ? ["version", ...others, "signedPolicy"] : ["state", ...others];
}
