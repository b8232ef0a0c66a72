// Smart contract management (clause 6.1): a deterministic machine. The same blocks give the same state on every node and every engine; what a
// contract forbids gets into no block.
import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type ChangeProposer,
  type CreateContract,
  type RecordAccess,
  type RecordUsage,
  RejectionReason,
  SmartContractSchema,
  type Transaction,
  type UpdateContract,
  type WithdrawContract,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { contractAddress } from "../communications/address.ts";
import type { LedgerState } from "./ledger-state.ts";
import { sha256 } from "./merkle.ts";

/** What the rules look at besides the transaction itself. */
export interface Occasion {
  readonly networkId: string;
  readonly transactionId: string;
  /** Hash of the block before. */
  readonly previousHash: Uint8Array;
  /** Time of the block: every expiry is judged by it, never by a node's clock. */
  readonly blockTimeUnixMs: bigint;
  /** Whose signature the envelope carries, verified. */
  readonly signer: { readonly identity: string; readonly spki: Uint8Array };
}

const MANAGEMENT = "urn:x1410:entity:dssm:";
const OPERATOR = "urn:x1410:entity:operator:";

/** Applies one transaction to the state, or answers the rule that it breaks and leaves the state as it is. */
export function applyTransaction(
  transaction: Transaction,
  occasion: Occasion,
  state: LedgerState,
): RejectionReason | undefined {
  const { networkId, signer } = occasion;
  if (transaction.networkId !== networkId) return RejectionReason.MALFORMED;
  if (transaction.signer !== signer.identity) return RejectionReason.SIGNER_NOT_ALLOWED;
  const { action } = transaction;
  if (action.case === "changeProposer") return changeProposer(action.value, occasion, state);
  if (!signer.identity.startsWith(MANAGEMENT)) return RejectionReason.SIGNER_NOT_ALLOWED;
  switch (action.case) {
    case "createContract":
      return createContract(action.value, occasion, state);
    case "updateContract":
      return updateContract(action.value, occasion, state);
    case "withdrawContract":
      return withdrawContract(action.value, occasion, state);
    case "recordAccess":
      return recordAccess(action.value, occasion, state);
    case "recordUsage":
      return recordUsage(action.value, occasion, state);
    default:
      return RejectionReason.MALFORMED;
  }
}

/**
 * What this transaction says where the node that it names may propose the very block that it stands in, against the proposer of before: an operator
 * says so, and after which block. Everything else about it is for `applyTransaction`.
 */
export function takeoverOf(transaction: Transaction): ChangeProposer | undefined {
  const { action, signer } = transaction;
  if (action.case !== "changeProposer" || !signer.startsWith(OPERATOR)) return undefined;
  return action.value.afterBlockHash.length > 0 ? action.value : undefined;
}

/** F3.6: the contract comes into being under the signer's management. */
function createContract(
  { contractId, withAccessPermission, accessTimes, expiration, commitments }: CreateContract,
  { networkId, transactionId, signer }: Occasion,
  state: LedgerState,
): RejectionReason | undefined {
  if (state.contract(contractId) !== undefined) return RejectionReason.DUPLICATE_ID;
  state.setContract(
    create(SmartContractSchema, {
      contractId,
      contractAddress: contractAddress(networkId, contractId),
      managementIdentity: signer.identity,
      withAccessPermission,
      accessTimes,
      ...(expiration === undefined ? {} : { expiration }),
      version: 1n,
      commitments,
      createdBy: transactionId,
    }),
  );
  return undefined;
}

/** P10: new terms. They may bring an expired contract back, never a withdrawn one. */
function updateContract(
  { contractId, version, accessTimes, expiration, commitments }: UpdateContract,
  { signer }: Occasion,
  state: LedgerState,
): RejectionReason | undefined {
  const contract = state.contract(contractId);
  if (contract === undefined) return RejectionReason.UNKNOWN_CONTRACT;
  if (contract.managementIdentity !== signer.identity) return RejectionReason.SIGNER_NOT_ALLOWED;
  if (contract.withdrawn) return RejectionReason.WITHDRAWN;
  if (version !== contract.version + 1n) return RejectionReason.VERSION_STALE;
  const { expiration: _former, ...kept } = contract;
  const until = expiration === undefined ? {} : { expiration };
  state.setContract(create(SmartContractSchema, { ...kept, ...until, version, accessTimes, commitments }));
  return undefined;
}

/** P10: the end of the contract. */
function withdrawContract(
  { contractId, commitments }: WithdrawContract,
  { signer }: Occasion,
  state: LedgerState,
): RejectionReason | undefined {
  const contract = state.contract(contractId);
  if (contract === undefined) return RejectionReason.UNKNOWN_CONTRACT;
  if (contract.managementIdentity !== signer.identity) return RejectionReason.SIGNER_NOT_ALLOWED;
  if (contract.withdrawn) return RejectionReason.WITHDRAWN;
  state.setContract({ ...contract, withdrawn: true, commitments });
  return undefined;
}

/** F4.4: one more access of a pseudonym, where the contract still allows it. */
function recordAccess(
  { accessId, contractId, consumerPseudonym }: RecordAccess,
  { signer, blockTimeUnixMs }: Occasion,
  state: LedgerState,
): RejectionReason | undefined {
  if (state.contractOfAccess(accessId) !== undefined) return RejectionReason.DUPLICATE_ID;
  const contract = state.contract(contractId);
  if (contract === undefined) return RejectionReason.UNKNOWN_CONTRACT;
  if (contract.managementIdentity !== signer.identity) return RejectionReason.SIGNER_NOT_ALLOWED;
  if (contract.withdrawn) return RejectionReason.WITHDRAWN;
  if (contract.expiration !== undefined && timestampMs(contract.expiration) <= Number(blockTimeUnixMs)) {
    return RejectionReason.EXPIRED;
  }
  const accesses = state.accessesOf(contractId, consumerPseudonym);
  if (contract.accessTimes > 0 && accesses >= contract.accessTimes) return RejectionReason.ACCESS_TIMES_EXHAUSTED;
  state.setAccess(accessId, contractId);
  state.setAccessesOf(contractId, consumerPseudonym, accesses + 1);
  state.countAccess(contractId);
  return undefined;
}

/** UR2: what was done under an access; also after the contract's end, for it reports the past. */
function recordUsage(
  { usageId, accessId }: RecordUsage,
  { signer }: Occasion,
  state: LedgerState,
): RejectionReason | undefined {
  if (state.hasUsage(usageId)) return RejectionReason.DUPLICATE_ID;
  const contractId = state.contractOfAccess(accessId);
  if (contractId === undefined) return RejectionReason.UNKNOWN_ACCESS;
  if (state.contract(contractId)?.managementIdentity !== signer.identity) return RejectionReason.SIGNER_NOT_ALLOWED;
  state.setUsage(usageId, accessId);
  return undefined;
}

/** From the next block on another node, or the same node under another key, proposes. The proposer's present key says so, or an operator. */
function changeProposer(
  { proposer, publicKeySha256, afterBlockHash }: ChangeProposer,
  { signer, previousHash }: Occasion,
  state: LedgerState,
): RejectionReason | undefined {
  const current = state.proposer();
  const byCurrent =
    current !== undefined &&
    current.proposer === signer.identity &&
    Buffer.compare(current.publicKeySha256, sha256(signer.spki)) === 0;
  if (!byCurrent && !signer.identity.startsWith(OPERATOR)) return RejectionReason.SIGNER_NOT_ALLOWED;
  if (afterBlockHash.length > 0 && Buffer.compare(afterBlockHash, previousHash) !== 0) {
    return RejectionReason.VERSION_STALE;
  }
  state.setProposer(proposer, publicKeySha256);
  return undefined;
}
