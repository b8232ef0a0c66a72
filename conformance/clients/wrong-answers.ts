// Answers of the kit's servers that a user's side must not believe.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { DataDistributionService, GetPackageResponseSchema } from "../../gen/x1410/v1/data_distribution_pb.ts";
import { DataSharingAccessService, type RequestAccessResponse } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { type RequestedPermission, RequestedPermissionSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { EntityKind, EntitySchema } from "../../gen/x1410/v1/identity_pb.ts";
import { TransactionSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { signMessage } from "../../reference/envelope/sign.ts";
import type { Signer } from "../../reference/envelope/signer.ts";
import { verifyEnvelope } from "../../reference/envelope/verify.ts";
import { type Alteration, streaming, unary } from "../mutants/mutant.ts";
import { sha256 } from "../roles/data-provider.ts";
import type { Credential, EntityRole } from "../target.ts";
import type { TestCase } from "../test-case.ts";
import type { ClientUnderTest } from "./client-under-test.ts";
import type { Impostor } from "./counterparts.ts";

/** Another answer to the request for access. */
export function grantAltered(
  alter: (grant: RequestAccessResponse) => RequestAccessResponse | Promise<RequestAccessResponse>,
): Alteration {
  return unary(
    DataSharingAccessService.method.requestAccess,
    (original) => async (request, context) => alter(await original(request, context)),
  );
}

/** Another requested permission, signed all the same. */
export function permissionAltered(
  t: TestCase,
  signer: Signer,
  alter: (permission: RequestedPermission) => void,
): Alteration {
  return grantAltered((grant) => {
    if (grant.requestedPermission === undefined) return grant;
    const { message } = verifyEnvelope(grant.requestedPermission, RequestedPermissionSchema, t.trust);
    alter(message);
    return { ...grant, requestedPermission: signMessage(signer, RequestedPermissionSchema, message) };
  });
}

/** The same transaction, signed anew by the management: true in every word, and in no block. */
export async function signedOffLedger(t: TestCase, transaction: Uint8Array): Promise<Uint8Array> {
  const { message } = verifyEnvelope(fromBinary(SignedEnvelopeSchema, transaction), TransactionSchema, t.trust);
  message.nonce = t.random(message.nonce.length);
  const signer = await t.bench.counterparts.signer("dssm");
  return toBinary(SignedEnvelopeSchema, signMessage(signer, TransactionSchema, message));
}

/** Other bytes instead of the stored ones. Size and digests fit them: whoever stores the bytes, and the management, may lie together. */
export function packageReplaced(bytes: Uint8Array): readonly Alteration[] {
  const digest = sha256(bytes);
  const size = BigInt(bytes.length);
  return [
    grantAltered((grant) => ({
      ...grant,
      ...(grant.package && { package: { ...grant.package, size, sha256: digest } }),
    })),
    streaming(
      DataDistributionService.method.getPackage,
      () =>
        async function* ({ offset }) {
          const rest = bytes.subarray(Math.min(Number(offset), bytes.length));
          const parts = [
            { case: "description" as const, value: { size, sha256: digest, offset } },
            { case: "data" as const, value: rest },
          ];
          for (const part of parts) yield create(GetPackageResponseSchema, { part });
        },
    ),
  ];
}

/** A key storage server of the network that is none of the provider's; its certificate is right. Answers its identity. */
export async function otherKeyStorage(t: TestCase, client: ClientUnderTest): Promise<string> {
  const { counterparts } = t.bench;
  const identity = "urn:x1410:entity:kss:other";
  const other = await counterparts.impostor("kss", counterparts.authority.issue("kss", "other"));
  t.cleanUp(() => other.close());
  client.alter(
    unary(SystemManagementService.method.getNetworkParameters, (original) => async (request, context) => {
      const answer = await original(request, context);
      const { parameters } = answer;
      if (parameters === undefined) return answer;
      const entity = create(EntitySchema, { identity, kind: EntityKind.KSS, endpoint: other.endpoint });
      return { ...answer, parameters: { ...parameters, entities: [...parameters.entities, entity] } };
    }),
  );
  return identity;
}

/** The entity is where the impostor is, by settings and by what the management tells of the network (U4). */
export async function impostorOf(
  t: TestCase,
  client: ClientUnderTest,
  role: EntityRole,
  credential: Credential,
): Promise<Impostor> {
  const { counterparts } = t.bench;
  const impostor = await counterparts.impostor(role, credential);
  t.cleanUp(() => impostor.close());
  const { identity } = counterparts.entity(role);
  await client.redirect(role, impostor);
  client.alter(
    unary(SystemManagementService.method.getNetworkParameters, (original) => async (request, context) => {
      const answer = await original(request, context);
      const { parameters } = answer;
      if (parameters === undefined) return answer;
      const entities = parameters.entities.map((entity) =>
        entity.identity === identity ? { ...entity, endpoint: impostor.endpoint } : entity,
      );
      return { ...answer, parameters: { ...parameters, entities } };
    }),
    grantAltered((grant) => ({
      ...grant,
      ...(grant.key?.server?.identity === identity && {
        key: { ...grant.key, server: { ...grant.key.server, endpoint: impostor.endpoint } },
      }),
      ...(grant.package?.server?.identity === identity && {
        package: { ...grant.package, server: { ...grant.package.server, endpoint: impostor.endpoint } },
      }),
    })),
  );
  return impostor;
}
