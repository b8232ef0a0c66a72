// What a provider says about the data that it shares (P6, W4): the data-sharing information and the access permission.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type AccessPermission,
  AccessPermissionSchema,
  type AllowedPartiesSchema,
  type DataAttributesSchema,
  type DataSharingInformation,
  DataSharingInformationSchema,
  type DataSharingPolicySchema,
  type EncryptedData,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { Signer } from "../envelope/signer.ts";

export interface Offer {
  /** Category, introduction, usage, price, keywords. */
  readonly attributes: MessageInitShape<typeof DataAttributesSchema>;
  /** Industries, countries, users; everyone where absent. */
  readonly allowed?: MessageInitShape<typeof AllowedPartiesSchema>;
  /** Access times, expiration, read only. Absent, the data is shared as in Annex A.1. */
  readonly permission?: PermissionTerms;
  /** End and terms of the policy. */
  readonly policy?: Pick<MessageInitShape<typeof DataSharingPolicySchema>, "validUntil" | "terms">;
  /** Users to whom the data storage server gives the package; every authenticated user where absent. */
  readonly readers?: readonly string[];
}

export interface PermissionTerms {
  /** Per consumer and contract. */
  readonly accessTimes: number;
  readonly expiration: Date;
  readonly readOnly: boolean;
}

/** An id and an address at a storage server (W2, W3). */
export interface Registered {
  readonly id: string;
  readonly address: string;
}

/** F3.3.1, A1.3: P6 in full. The encrypted data is stated here only where there is no package metadata to state it. */
export function sharedInformation(
  { attributes, allowed, permission }: Offer,
  signer: Signer,
  key: Registered,
  stored: Registered,
  encryptedData: EncryptedData,
): DataSharingInformation {
  return create(DataSharingInformationSchema, {
    providerIdentity: signer.identity,
    providerPublicKey: signer.publicKey,
    packageId: stored.id,
    packageAddress: stored.address,
    keyId: key.id,
    keyAddress: key.address,
    attributes,
    ...(allowed === undefined ? {} : { allowed }),
    ...(permission === undefined ? { encryptedData } : {}),
  });
}

/** F3.3.3: W4 in full. */
export function accessPermission(
  { permission }: Offer,
  key: Registered,
  stored: Registered,
): AccessPermission | undefined {
  if (permission === undefined) return undefined;
  return create(AccessPermissionSchema, {
    accessTimes: permission.accessTimes,
    expiration: timestampFromDate(permission.expiration),
    readOnly: permission.readOnly,
    keyId: key.id,
    keyAddress: key.address,
    packageId: stored.id,
    packageAddress: stored.address,
  });
}
