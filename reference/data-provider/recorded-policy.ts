// A provider's own check that the ledger holds what it signed (S4): the contract of its policy, with a commitment to its very words.
import type { PolicyRecord } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { contractActionOf } from "../ledger/transaction.ts";
import type { ConnectedUser } from "../user/connected-user.ts";
import { checkEvidence, EvidenceError } from "../user/evidence.ts";

/** @throws EvidenceError where the ledger does not hold the contract of this policy as it was signed */
export function checkRecordedPolicy(
  { contractAddress, proof, openings, policyId }: PolicyRecord,
  signed: SignedEnvelope,
  user: Pick<ConnectedUser, "trust" | "network" | "managementIdentity">,
): void {
  const { action, values } = checkEvidence({ proof, openings }, user);
  const { networkId } = user.network;
  const contract = contractActionOf({ policyId, contractAddress }, { action, networkId });
  if (contract === undefined || contract.case === "withdrawContract")
    throw new EvidenceError(`the transaction is not that of policy ${policyId} at ${contractAddress}`);
  const committed = values.get("signed-policy");
  if (committed === undefined || Buffer.compare(committed, signed.payload) !== 0)
    throw new EvidenceError(`the ledger does not commit to policy ${policyId} as it was signed`);
}
