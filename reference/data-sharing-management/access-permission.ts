// Access permission management (APM, clause 7.2.3): keeps the permissions that providers set (APM1-3) and generates from them what one
// access allows (APM4-6, X2).
import { create, equals, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  AccessPermissionService,
  type CreateRequestedPermissionRequest,
  CreateRequestedPermissionResponseSchema,
  type StoreAccessPermissionRequest,
  StoreAccessPermissionRequestSchema,
  StoreAccessPermissionResponseSchema,
} from "../../gen/x1410/v1/access_permission_pb.ts";
import { RequestedPermissionSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import { refusal } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import { newContext, signMessage } from "../envelope/sign.ts";
import type { Signer } from "../envelope/signer.ts";
import { commit, messageTable, put, type Store } from "../store/durable-batch.ts";

export interface AccessPermissionDependencies {
  /** Of access permission management alone. */
  readonly store: Store;
  /** The management, who signs requested permissions. */
  readonly signer: Signer;
  readonly now: () => Date;
}

export interface AccessPermissionManagement {
  readonly registration: Registration<typeof AccessPermissionService>;
}

export function createAccessPermissionManagement(
  dependencies: AccessPermissionDependencies,
): AccessPermissionManagement {
  const { store, signer, now } = dependencies;
  // By contract address: the StoreAccessPermissionRequest of the newest version.
  const permissions = messageTable(store, "permissions");
  // By access id: the signed RequestedPermission.
  const requested = messageTable(store, "requested");
  const mutex = new KeyedMutex();

  const stored = async (contractAddress: string): Promise<StoreAccessPermissionRequest | undefined> => {
    const bytes = await permissions.get(contractAddress);
    return bytes === undefined ? undefined : fromBinary(StoreAccessPermissionRequestSchema, bytes);
  };

  /** F4.9: what this one access allows, signed for its consumer. */
  const generate = async (order: CreateRequestedPermissionRequest): Promise<SignedEnvelope> => {
    const permission = (await stored(order.contractAddress))?.accessPermission;
    if (permission?.expiration === undefined) {
      throw refusal(ErrorReason.PERMISSION_NOT_FOUND, order.contractAddress);
    }
    if (timestampDate(permission.expiration) <= now()) {
      throw refusal(ErrorReason.CONTRACT_EXPIRED, order.contractAddress);
    }
    if (order.accessNumber > permission.accessTimes) {
      throw refusal(ErrorReason.ACCESS_TIMES_EXHAUSTED, order.contractAddress);
    }
    return signMessage(
      signer,
      RequestedPermissionSchema,
      create(RequestedPermissionSchema, {
        context: newContext(signer, order.consumerIdentity, now()),
        accessId: order.accessId,
        contractAddress: order.contractAddress,
        accessNumber: order.accessNumber,
        accessTimes: permission.accessTimes,
        expiration: permission.expiration,
        readOnly: permission.readOnly,
        keyId: permission.keyId,
        keyAddress: permission.keyAddress,
        packageId: permission.packageId,
        packageAddress: permission.packageAddress,
      }),
    );
  };

  const registration = implement(AccessPermissionService, {
    storeAccessPermission(request) {
      return mutex.run(request.contractAddress, async () => {
        const known = await stored(request.contractAddress);
        if (known !== undefined && request.policyVersion <= known.policyVersion) {
          if (request.policyVersion < known.policyVersion) {
            throw refusal(ErrorReason.PERMISSION_VERSION_STALE, request.contractAddress);
          }
          // A version has one content; the same again is stored already.
          if (!equals(StoreAccessPermissionRequestSchema, request, known)) {
            throw refusal(ErrorReason.REQUEST_INVALID, "policy_version");
          }
        } else {
          const bytes = toBinary(StoreAccessPermissionRequestSchema, request);
          await commit(store, [put(permissions, request.contractAddress, bytes)]);
        }
        return create(StoreAccessPermissionResponseSchema);
      });
    },

    createRequestedPermission(order) {
      return mutex.run(order.accessId, async () => {
        const known = await requested.get(order.accessId);
        if (known !== undefined) {
          const envelope = fromBinary(SignedEnvelopeSchema, known);
          if (!isFor(envelope, order)) throw refusal(ErrorReason.REQUEST_INVALID, "access_id");
          return create(CreateRequestedPermissionResponseSchema, { requestedPermission: envelope });
        }
        const envelope = await generate(order);
        await commit(store, [put(requested, order.accessId, toBinary(SignedEnvelopeSchema, envelope))]);
        return create(CreateRequestedPermissionResponseSchema, { requestedPermission: envelope });
      });
    },
  });

  return { registration };
}

function isFor(envelope: SignedEnvelope, order: CreateRequestedPermissionRequest): boolean {
  const { context, contractAddress, accessNumber } = fromBinary(RequestedPermissionSchema, envelope.payload);
  return (
    context?.audience === order.consumerIdentity &&
    contractAddress === order.contractAddress &&
    accessNumber === order.accessNumber
  );
}
