// What a management grants (C5, X2; F4.11, A2.8), checked before it is used: that provider, management and ledger say the same.
import { equals, fromBinary } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { RequestAccessResponse } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import {
  type AccessPermission,
  type AccessRecord,
  AccessRecordSchema,
  type DataSharingInformation,
  DataSharingInformationSchema,
  type PublishedInformation,
  RequestedPermissionSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { parseContractAddress } from "../communications/address.ts";
import { type Trust, verifyEnvelope } from "../envelope/verify.ts";
import type { ConnectedUser } from "../user/connected-user.ts";
import { checkEvidence, type Evidence, EvidenceError } from "../user/evidence.ts";
import { openSignedPolicy, type SignedPolicy } from "../user/signed-policy.ts";
import type { EnforcedPermission } from "./unwrapping.ts";

/** Something that a management says and that others did not sign; the message says what. */
export class GrantError extends Error {
  override name = "GrantError";
}

export interface Grant {
  readonly accessId: string;
  readonly accessNumber: number;
  readonly record: AccessRecord;
  readonly information: DataSharingInformation;
  /** Nothing in Annex A. */
  readonly permission: EnforcedPermission | undefined;
  readonly accessToken: string;
  /** SHA-256 of the stored object. */
  readonly packageSha256: Uint8Array;
}

type Checker = Pick<ConnectedUser, "trust" | "network" | "managementIdentity" | "identity">;

/** Who said it: published information is what its provider signed. @throws GrantError, ConnectError of the signature */
export function checkPublished(published: PublishedInformation, { trust }: { readonly trust: Trust }): SignedPolicy {
  const { information, signedPolicy, withAccessPermission, contractAddress } = published;
  if (information === undefined || signedPolicy === undefined)
    throw new GrantError(`the publication of ${contractAddress} lacks what its provider signed`);
  const signed = openSignedPolicy(signedPolicy, trust);
  if (!equals(DataSharingInformationSchema, information, signed.information))
    throw new GrantError(`the information of ${contractAddress} is not what its provider signed`);
  if (withAccessPermission !== (signed.accessPermission !== undefined))
    throw new GrantError(`the publication of ${contractAddress} contradicts its provider on the access permission`);
  if (parseContractAddress(contractAddress).contractId !== signed.policy.policyId)
    throw new GrantError(`${contractAddress} is not the contract of the policy that its provider signed`);
  return signed;
}

/**
 * Holds the answer to an access request against the request, the provider's signature and the ledger.
 * @param providerTrust judges what the provider has signed, which may have been long ago
 * @throws GrantError, EvidenceError, ConnectError of a signature
 */
export function checkGrant(
  grant: RequestAccessResponse,
  asked: { readonly request: SignedEnvelope; readonly contractAddress: string; readonly packageId: string },
  user: Checker,
  providerTrust: Trust = user.trust,
): Grant {
  const { record, information: published, key, package: stored, accessToken } = grant;
  if (record === undefined || published === undefined || key === undefined || stored === undefined)
    throw new GrantError("the management's answer is incomplete");
  const { information, accessPermission } = checkPublished(published, { trust: providerTrust });
  const same =
    record.contractAddress === asked.contractAddress &&
    published.contractAddress === asked.contractAddress &&
    record.consumerIdentity === user.identity &&
    information.packageId === asked.packageId;
  if (!same)
    throw new GrantError("the management answers for another contract, package or consumer than was asked for");
  const placed =
    key.keyId === information.keyId &&
    key.keyAddress === information.keyAddress &&
    stored.packageId === information.packageId &&
    stored.packageAddress === information.packageAddress;
  if (!placed) throw new GrantError("the management names another key or package than the provider signed");
  checkAccessEvidence(grant, record, user, asked.request);
  return {
    accessId: record.accessId,
    accessNumber: record.accessNumber,
    record,
    information,
    permission: accessPermission && permitted(grant, record, information, accessPermission, user),
    accessToken,
    packageSha256: stored.sha256,
  };
}

/** That the ledger holds the access, and commits to this record and, where given, to this request. @throws EvidenceError */
export function checkAccessEvidence(
  evidence: Evidence,
  record: AccessRecord,
  user: Checker,
  request?: SignedEnvelope,
): bigint {
  const { action, values, blockHeight } = checkEvidence(evidence, user);
  const { contractId } = parseContractAddress(record.contractAddress);
  const isAccess =
    action.case === "recordAccess" &&
    action.value.accessId === record.accessId &&
    action.value.contractId === contractId;
  if (!isAccess) throw new EvidenceError(`the transaction in block ${blockHeight} is not access ${record.accessId}`);
  const recordBytes = values.get("record");
  if (recordBytes === undefined || !isSameRecord(fromBinary(AccessRecordSchema, recordBytes), record))
    throw new EvidenceError(`the ledger does not commit to access record ${record.accessId} as it was handed out`);
  if (request === undefined) return blockHeight;
  const committed = values.get("access-request");
  if (committed === undefined || Buffer.compare(committed, request.payload) !== 0)
    throw new EvidenceError("the ledger does not commit to the request that was signed");
  return blockHeight;
}

/** Of two limits the stricter one: neither management nor provider widens what the other has signed. */
function permitted(
  { requestedPermission: envelope }: RequestAccessResponse,
  record: AccessRecord,
  information: DataSharingInformation,
  granted: AccessPermission,
  user: Checker,
): EnforcedPermission {
  if (envelope === undefined) throw new GrantError("the management gave no requested permission");
  const { message, signer } = verifyEnvelope(envelope, RequestedPermissionSchema, user.trust);
  const holds =
    signer.identity === user.managementIdentity &&
    message.context?.audience === user.identity &&
    message.accessId === record.accessId &&
    message.accessNumber === record.accessNumber &&
    message.contractAddress === record.contractAddress &&
    message.keyId === information.keyId &&
    message.packageId === information.packageId;
  if (!holds) throw new GrantError("the requested permission is not one for this access, signed by the management");
  const ends = [message.expiration, granted.expiration].map((end) =>
    end === undefined ? 0 : timestampDate(end).getTime(),
  );
  return { expiration: new Date(Math.min(...ends)), readOnly: message.readOnly || granted.readOnly };
}

/** Note, archive flag and receipt came later; the rest is what the ledger commits to. */
function isSameRecord(committed: AccessRecord, record: AccessRecord): boolean {
  const { receipt: _receipt, ...rest } = record;
  return equals(AccessRecordSchema, committed, { ...rest, note: "", archived: false });
}
