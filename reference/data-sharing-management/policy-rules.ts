// What must hold inside a signed policy before anything is done about it (DSPM1; F3.6, A1.6): its parts agree with each other, with the
// signer and, in an update, with the version before.
import { equals } from "@bufbuild/protobuf";
import type {
  AccessPermission,
  DataSharingInformation,
  DataSharingPolicy,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { EncryptedDataSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type PublicKey, PublicKeySchema } from "../../gen/x1410/v1/identity_pb.ts";
import { parseStorageAddress } from "../communications/address.ts";
import { refusal } from "../communications/refusal.ts";
import type { Terms } from "./policy-store.ts";

/** The three parts of a submission or update; which of them must be there, the interface's own rules have said already. */
export interface SignedParts {
  readonly information?: DataSharingInformation | undefined;
  readonly policy?: DataSharingPolicy | undefined;
  readonly accessPermission?: AccessPermission | undefined;
}

export interface RequiredParts {
  readonly information: DataSharingInformation;
  readonly policy: DataSharingPolicy;
  readonly accessPermission: AccessPermission | undefined;
}

/**
 * @throws ConnectError PAYLOAD_MALFORMED naming the field; PARTY_NOT_SIGNER where the public key is not the signer's; AUDIENCE_MISMATCH
 * where another management is to record the policy
 */
export function requireAgreement(parts: SignedParts, signerKey: PublicKey, management: string): RequiredParts {
  const { information, policy, accessPermission } = parts;
  if (information === undefined) throw refusal(ErrorReason.PAYLOAD_MALFORMED, "information");
  if (policy === undefined) throw refusal(ErrorReason.PAYLOAD_MALFORMED, "policy");
  const { providerPublicKey, keyId, keyAddress, packageId, packageAddress } = information;
  if (providerPublicKey === undefined || !equals(PublicKeySchema, providerPublicKey, signerKey)) {
    throw refusal(ErrorReason.PARTY_NOT_SIGNER, "information.provider_public_key");
  }
  if (policy.managementIdentity !== management) {
    throw refusal(ErrorReason.AUDIENCE_MISMATCH, "policy.management_identity");
  }
  requireSame(parseStorageAddress(keyAddress).id, keyId, "information.key_address");
  requireSame(parseStorageAddress(packageAddress).id, packageId, "information.package_address");
  if (accessPermission === undefined) {
    if (information.encryptedData === undefined) {
      throw refusal(ErrorReason.PAYLOAD_MALFORMED, "information.encrypted_data");
    }
  } else {
    requireSame(accessPermission.keyId, keyId, "access_permission.key_id");
    requireSame(accessPermission.keyAddress, keyAddress, "access_permission.key_address");
    requireSame(accessPermission.packageId, packageId, "access_permission.package_id");
    requireSame(accessPermission.packageAddress, packageAddress, "access_permission.package_address");
  }
  return { information, policy, accessPermission };
}

/**
 * An update changes terms, never what is shared.
 * @throws ConnectError POLICY_VERSION_STALE, INFORMATION_MISMATCH
 */
export function requireSuccession(next: RequiredParts, current: Terms): void {
  if (next.policy.version !== current.policy.version + 1n) throw refusal(ErrorReason.POLICY_VERSION_STALE);
  const [now, then] = [next.information, current.information];
  const changed =
    now.keyAddress !== then.keyAddress
      ? "information.key_address"
      : now.packageAddress !== then.packageAddress
        ? "information.package_address"
        : !sameData(now, then)
          ? "information.encrypted_data"
          : (next.accessPermission === undefined) !== (current.accessPermission === undefined)
            ? "access_permission"
            : undefined;
  if (changed !== undefined) throw refusal(ErrorReason.INFORMATION_MISMATCH, changed);
}

function sameData({ encryptedData: now }: DataSharingInformation, { encryptedData: then }: DataSharingInformation) {
  if (now === undefined || then === undefined) return now === then;
  return equals(EncryptedDataSchema, now, then);
}

function requireSame(one: string, other: string, field: string): void {
  if (one !== other) throw refusal(ErrorReason.PAYLOAD_MALFORMED, field);
}
