// A provider's own check that the ledger holds what it signed (S4): the contract of its policy, with commitments to its very words.
import { type DescMessage, equals, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import {
  AccessPermissionSchema,
  DataSharingInformationSchema,
  DataSharingPolicySchema,
  type PolicySubmission,
  type PolicyUpdate,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { PolicyRecord } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { contractAddress } from "../communications/address.ts";
import type { ConnectedUser } from "../user/connected-user.ts";
import { checkEvidence, EvidenceError } from "../user/evidence.ts";

/** @throws EvidenceError where the ledger does not hold the contract that was signed */
export function checkRecordedPolicy(
  { contractAddress: address, proof, openings }: PolicyRecord,
  signed: Pick<PolicySubmission | PolicyUpdate, "information" | "policy" | "accessPermission">,
  user: Pick<ConnectedUser, "trust" | "network" | "managementIdentity">,
): void {
  const { action, values } = checkEvidence({ proof, openings }, user);
  const isContract = action.case === "createContract" || action.case === "updateContract";
  const contractId = isContract ? action.value.contractId : "";
  if (contractId !== signed.policy?.policyId)
    throw new EvidenceError(`the transaction is not that of policy ${signed.policy?.policyId}`);
  if (address !== contractAddress(user.network.networkId, contractId))
    throw new EvidenceError(`${address} is not the address of the contract on the ledger`);
  const same = <D extends DescMessage>(name: string, schema: D, value: MessageShape<D> | undefined) => {
    const bytes = values.get(name);
    const holds = bytes === undefined || value === undefined ? bytes === value : equalTo(schema, bytes, value);
    if (!holds) throw new EvidenceError(`the ledger does not commit to the ${name} that was signed`);
  };
  same("information", DataSharingInformationSchema, signed.information);
  same("policy", DataSharingPolicySchema, signed.policy);
  same("permission", AccessPermissionSchema, signed.accessPermission);
}

function equalTo<D extends DescMessage>(schema: D, bytes: Uint8Array, value: MessageShape<D>): boolean {
  return equals(schema, fromBinary(schema, bytes), value);
}
