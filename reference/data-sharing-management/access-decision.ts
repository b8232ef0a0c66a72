// Whether a consumer may have an access (DSAM1, F4.4): the contract is live, the request means what the contract shares, and the policy
// allows the consumer by what the operator has verified about it.
import { equals } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type AllowedParties,
  type DataSharingInformation,
  PolicyState,
  type SharedDataInformation,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type Account, PublicKeySchema } from "../../gen/x1410/v1/identity_pb.ts";
import { refusal } from "../communications/refusal.ts";
import type { SharedContract } from "./contracts.ts";

/** States in which a contract may be executed: its address is executable as soon as anyone can have got it. */
const LIVE: readonly PolicyState[] = [PolicyState.RECORDED, PolicyState.PUBLISHED];

/**
 * Refuses what the contract does not allow at this time; returns where it allows.
 * @throws ConnectError CONTRACT_NOT_FOUND, CONTRACT_WITHDRAWN, CONTRACT_EXPIRED, INFORMATION_MISMATCH, INDUSTRY_NOT_ALLOWED,
 * COUNTRY_NOT_ALLOWED, USER_NOT_ALLOWED, in this order
 */
export function decideAccess(
  contract: SharedContract,
  request: { readonly sharedData: SharedDataInformation | undefined; readonly account: Account; readonly at: Date },
): void {
  const { state, contractId, information } = contract;
  if (state === PolicyState.WITHDRAWN) throw refusal(ErrorReason.CONTRACT_WITHDRAWN, contractId);
  if (!LIVE.includes(state)) throw refusal(ErrorReason.CONTRACT_NOT_FOUND, contractId);
  const end = endOf(contract);
  if (end !== undefined && timestampDate(end) <= request.at) throw refusal(ErrorReason.CONTRACT_EXPIRED, contractId);
  assertSameInformation(information, request.sharedData);
  if (information.allowed !== undefined) assertAllowed(information.allowed, request.account);
}

/** When the contract can no longer be executed: the end of the permission or of the policy, whichever comes first. */
export function endOf({ accessPermission, policy }: SharedContract): Timestamp | undefined {
  const [earliest] = [accessPermission?.expiration, policy.validUntil]
    .filter((end) => end !== undefined)
    .sort((one, other) => timestampDate(one).getTime() - timestampDate(other).getTime());
  return earliest;
}

function assertSameInformation(information: DataSharingInformation, shared: SharedDataInformation | undefined): void {
  const mismatch = (field: string) => refusal(ErrorReason.INFORMATION_MISMATCH, `shared_data.${field}`);
  if (shared?.providerIdentity !== information.providerIdentity) throw mismatch("provider_identity");
  if (
    shared.providerPublicKey === undefined ||
    information.providerPublicKey === undefined ||
    !equals(PublicKeySchema, shared.providerPublicKey, information.providerPublicKey)
  ) {
    throw mismatch("provider_public_key");
  }
  if (shared.packageId !== information.packageId) throw mismatch("package_id");
  if (shared.keyId !== information.keyId) throw mismatch("key_id");
}

/** An empty list allows everyone; several lists hold together (P6). What is not verified counts as absent. */
function assertAllowed({ industries, countries, users }: AllowedParties, { attributes, identity }: Account): void {
  if (industries.length > 0 && !industries.some((industry) => attributes?.industries.includes(industry))) {
    throw refusal(ErrorReason.INDUSTRY_NOT_ALLOWED);
  }
  if (countries.length > 0 && !countries.includes(attributes?.country ?? "")) {
    throw refusal(ErrorReason.COUNTRY_NOT_ALLOWED);
  }
  if (users.length > 0 && !users.includes(identity)) throw refusal(ErrorReason.USER_NOT_ALLOWED);
}
