// What policy management tells the other components of the same management about a contract, off-chain values included (clause 6.2.2).
import type {
  AccessPermission,
  DataSharingInformation,
  DataSharingPolicy,
  PolicyState,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import type { CommitmentOpening } from "../../gen/x1410/v1/ledger_pb.ts";

/** A contract that is on the ledger, with the terms of its current version. */
export interface SharedContract {
  /** 32 hexadecimal digits; the policy's id as well. */
  readonly contractId: string;
  /** x1410://dlt.NETWORK/contracts/ID. */
  readonly contractAddress: string;
  /** RECORDED, PUBLISHED or WITHDRAWN. */
  readonly state: PolicyState;
  /** Version of the policy. */
  readonly version: bigint;
  readonly information: DataSharingInformation;
  readonly policy: DataSharingPolicy;
  /** Absent in Annex A. */
  readonly accessPermission: AccessPermission | undefined;
  /** The provider's signed submission or latest update. */
  readonly signedPolicy: SignedEnvelope;
  /** 32 random bytes; the key of the consumers' pseudonyms on the ledger (RecordAccess). Never leaves the management. */
  readonly salt: Uint8Array;
  /** Openings of the commitments to information, policy and permission. */
  readonly openings: readonly CommitmentOpening[];
}

export interface Contracts {
  /** The contract of this id; undefined where none is recorded on the ledger. */
  get(contractId: string): Promise<SharedContract | undefined>;
}
