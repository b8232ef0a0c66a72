// What a data-sharing service management answers to other entities, and to users not: token management (TM), access permission
// management (APM), what publication and subscription take from within, and the network parameters (U4). Clauses 6.2 and 7.2.

import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from "jose";
import { AccessPermissionService } from "../../gen/x1410/v1/access_permission_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { EntityKind } from "../../gen/x1410/v1/identity_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { TokenService } from "../../gen/x1410/v1/token_pb.ts";
import { expect } from "../procedures/procedure.ts";
import { expectCertificateOf } from "../roles/server-certificate.ts";
import type { User } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import { grantedAccess } from "./dssm-signed-requests.ts";
import { freshId, malformedField, notIds } from "./malformed-field.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";
import { wrongCaller } from "./wrong-caller.ts";

const tokens = (user: User) => user.client(TokenService, "dssm");
const parameters = (user: User) => user.client(SystemManagementService, "dssm").getNetworkParameters({});

function claimsOf(token: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as Record<string, unknown>;
}

interface Internal {
  readonly id: PurposeId;
  readonly method: string;
  readonly steps: readonly string[];
  readonly capabilities: readonly string[];
  readonly likelyMistake: string;
  readonly call: (t: TestCase, user: User, contractAddress: string) => Promise<unknown>;
}

const expiration = () => timestampFromDate(new Date(Date.now() + 3_600_000));

/** Methods of one component for another of the same management. */
const internals: readonly Internal[] = [
  {
    id: "TP/DSSM/TM/BI-01",
    method: "TokenService/CreateToken",
    steps: ["F4.5", "A2.5"],
    capabilities: ["TM1"],
    likelyMistake: "users order tokens for whatever key they like",
    call: (t, user, contractAddress) =>
      tokens(user).createToken({
        accessId: freshId(t),
        contractAddress,
        consumerIdentity: user.identity,
        consumerCertificateSha256: user.certificateSha256,
        keyId: freshId(t),
        keyServerIdentity: t.target.entities.kss.identity,
        packageId: freshId(t),
      }),
  },
  {
    id: "TP/DSSM/APM/BI-01",
    method: "AccessPermissionService/StoreAccessPermission",
    steps: ["F3.9.3"],
    capabilities: ["APM1"],
    likelyMistake: "providers, or anybody, exchange the permission of a contract past its policy",
    call: (t, user, contractAddress) => {
      const [keyId, packageId] = [freshId(t), freshId(t)];
      const accessPermission = {
        accessTimes: 1_000_000,
        expiration: expiration(),
        keyId,
        keyAddress: `x1410://kss.somewhere/keys/${keyId}`,
        packageId,
        packageAddress: `x1410://dss.somewhere/packages/${packageId}`,
      };
      const request = { contractAddress, policyVersion: 2n, accessPermission };
      return user.client(AccessPermissionService, "dssm").storeAccessPermission(request);
    },
  },
  {
    id: "TP/DSSM/APM/BI-02",
    method: "AccessPermissionService/CreateRequestedPermission",
    steps: ["F4.8"],
    capabilities: ["APM4"],
    likelyMistake: "consumers have permissions signed that no access stands for",
    call: (t, user, contractAddress) =>
      user.client(AccessPermissionService, "dssm").createRequestedPermission({
        accessId: freshId(t),
        contractAddress,
        consumerIdentity: user.identity,
        accessNumber: 1,
      }),
  },
];

export const componentPurposes: readonly Purpose[] = [
  ...internals.map(({ call, ...row }) =>
    wrongCaller({
      ...row,
      clause: "7.2.5",
      caller: "a user, for a contract to which it has access",
      answers: "RequestAccess by the same user, which orders the same within",
      calls: async (t) => ({
        right: () => grantedAccess(t),
        wrong: () => call(t, t.consumer, `x1410://dlt.${t.freshName("network")}/contracts/${freshId(t)}`),
      }),
    }),
  ),
  ...(["PublishInformation", "NotifyPublished"] as const).map((name) => {
    const publishes = name === "PublishInformation";
    return wrongCaller({
      id: publishes ? "TP/DSSM/PUB/BI-10" : "TP/DSSM/SUB/BI-05",
      clause: "7.2.5",
      method: `${publishes ? "InformationPublicationService" : "InformationSubscriptionService"}/${name}`,
      steps: publishes ? ["F3.9.2", "A1.9.2"] : ["F3.11", "A1.11"],
      capabilities: [publishes ? "PUB1" : "SUB1"],
      caller: "a user, with information that is published",
      answers: "GetInformation by the same user",
      likelyMistake: "anybody publishes anything under any contract's address",
      calls: async (t) => {
        const { information } = await grantedAccess(t);
        const contractAddress = information?.contractAddress ?? "";
        const news = await t.consumer.lookUp(contractAddress);
        return {
          right: () => t.consumer.lookUp(contractAddress),
          wrong: () =>
            publishes
              ? t.consumer.client(InformationPublicationService, "dssm").publishInformation({ information: news })
              : t.consumer
                  .client(InformationSubscriptionService, "dssm")
                  .notifyPublished({ position: 1n << 40n, information: news }),
        };
      },
    });
  }),
  wrongCaller({
    id: "TP/DSSM/TM/BI-02",
    clause: "7.2.5",
    method: "TokenService/ListTokenKeys",
    capabilities: ["TV2"],
    tester: ["kss"],
    caller: "a user",
    answers: "ListTokenKeys by a key storage server",
    likelyMistake: "a method without a session is open to all",
    calls: async (t) => ({
      right: () => tokens(t.as("kss")).listTokenKeys({}),
      wrong: () => tokens(t.consumer).listTokenKeys({}),
    }),
  }),
  wrongCaller({
    id: "TP/DSSM/TM/BI-03",
    clause: "7.2.5",
    method: "TokenService/IntrospectToken",
    requires: ["TokenService/IntrospectToken"],
    steps: ["F4.13.2", "A2.10.2"],
    capabilities: ["TM2"],
    tester: ["kss"],
    caller: "a key storage server for which the token is not",
    answers: "ListTokenKeys by the same key storage server",
    likelyMistake: "the kind of the caller is checked and the token's audience is not",
    calls: async (t) => {
      const { accessToken } = await grantedAccess(t);
      const other = t.as(t.target.entities.kss.identity === t.keyServer.identity ? "secondKss" : "kss");
      const tokenId = String(claimsOf(accessToken)["jti"]);
      return {
        right: () => tokens(other).listTokenKeys({}),
        wrong: () => tokens(other).introspectToken({ tokenId }),
      };
    },
  }),
  malformedField(
    {
      id: "TP/DSSM/TM/BI-04",
      method: "TokenService/RevokeToken",
      field: "token_id",
      holds: "a path that leads elsewhere",
      likelyMistake: "ids are used as given, as keys of the store",
      async requests(t) {
        const { accessToken } = await grantedAccess(t);
        const revoke = (tokenId: string) => tokens(t.consumer).revokeToken({ tokenId });
        return { right: () => revoke(String(claimsOf(accessToken)["jti"])), wrong: () => revoke(notIds.traversal) };
      },
    },
    { clause: "6.2.2", capabilities: ["TM2"] },
  ),
  purpose({
    id: "TP/DSSM/TM/BV-01",
    title: "issues tokens as RFC 9068 has them, for one key storage server, one certificate and one access",
    clause: "6.2.2",
    steps: ["F4.5", "F4.6", "F4.7", "A2.5", "A2.6", "A2.7"],
    capabilities: ["TM1", "TM2", "TM3", "DSAM5"],
    methods: ["TokenService/ListTokenKeys", "DataSharingAccessService/RequestAccess"],
    tester: ["kss"],
    initialState: "an access granted",
    stimulus: "the token, verified with the keys of ListTokenKeys",
    expected:
      "at+jwt; issuer, audience, subject, five minutes at most; bound to the certificate; the key and the access",
    likelyMistake: "the token is good anywhere for anything: aud, cnf or authorization_details are missing",
    async run(t) {
      const { accessToken, record, key } = await grantedAccess(t);
      const { issuer, jwks } = await tokens(t.as("kss")).listTokenKeys({});
      const management = t.target.entities.dssm.identity;
      expect(issuer === management, "the management as the issuer");
      const { payload, protectedHeader } = await jwtVerify(
        accessToken,
        createLocalJWKSet(JSON.parse(jwks) as JSONWebKeySet),
      ).catch((cause: unknown) => {
        expect(false, `a token that the published keys verify (${String(cause)})`);
        throw cause;
      });
      const {
        iss,
        aud,
        sub,
        jti,
        iat = 0,
        exp = 0,
        cnf,
      } = payload as typeof payload & { cnf?: Record<string, unknown> };
      expect(/^(application\/)?at\+jwt$/i.test(protectedHeader.typ ?? ""), "the type at+jwt");
      expect(iss === management && sub === t.consumer.identity, "the management as issuer, the consumer as subject");
      expect([aud].flat().join() === t.target.entities.kss.identity, "the one key storage server as audience");
      expect(/^[0-9a-f]{32}$/.test(jti ?? ""), "an id of 32 hexadecimal digits");
      expect(exp - iat <= 300 && exp > iat, "a lifetime of five minutes at most");
      const thumbprint = Buffer.from(t.consumer.certificateSha256).toString("base64url");
      expect(cnf?.["x5t#S256"] === thumbprint, "bound to the consumer's certificate");
      const [detail] = (payload["authorization_details"] ?? []) as Record<string, unknown>[];
      expect(detail?.["key_id"] === key?.keyId && detail?.["access_id"] === record?.accessId, "the key and the access");
    },
  }),
  purpose({
    id: "TP/DSSM/TM/BO-01",
    title: "revokes a token for its consumer, as often as it is told, and for no other",
    clause: "6.2.2",
    capabilities: ["TM2"],
    methods: ["TokenService/RevokeToken"],
    initialState: "an access granted",
    stimulus: "RevokeToken by another consumer; of a token that was never issued",
    expected: { reason: ErrorReason.TOKEN_NOT_FOUND },
    twin: "RevokeToken by the consumer, twice, and by an operator",
    likelyMistake: "whoever knows a token's id takes it away",
    async run(t) {
      const { accessToken } = await grantedAccess(t);
      const tokenId = String(claimsOf(accessToken)["jti"]);
      await t.positiveTwin("the consumer and an operator", async () => {
        await tokens(t.consumer).revokeToken({ tokenId });
        await tokens(t.consumer).revokeToken({ tokenId });
        await tokens(t.as("operator")).revokeToken({ tokenId });
      });
      await t.expectRefusal(() => tokens(t.secondConsumer).revokeToken({ tokenId }));
      await t.expectRefusal(() => tokens(t.consumer).revokeToken({ tokenId: freshId(t) }));
    },
  }),
  purpose({
    id: "TP/DSSM/API/CA-01",
    title: "tells users which entities there are, where, and under which certificates",
    clause: "6.2.1",
    capabilities: ["U4", "API1"],
    methods: ["SystemManagementService/GetNetworkParameters"],
    initialState: "users with certificates and no session",
    stimulus: "GetNetworkParameters by a provider, a consumer and an operator",
    expected: "a network id, trust anchors, and the three entities with endpoint and certificate, the same to all",
    likelyMistake:
      "the registry has names and no certificates: a user cannot tell an entity from whoever answers there",
    async run(t) {
      for (const user of [t.provider, t.consumer, t.as("operator")]) {
        const { parameters: network } = await parameters(user);
        expect(network !== undefined && network.networkId !== "", "a network id");
        expect(network.trustAnchors.length > 0, "trust anchors");
        for (const [role, kind] of [
          ["dssm", EntityKind.DSSM],
          ["kss", EntityKind.KSS],
          ["dss", EntityKind.DSS],
        ] as const) {
          const { identity } = t.target.entities[role];
          const entity = network.entities.find((one) => one.identity === identity);
          expect(entity?.kind === kind, `${identity} of its kind`);
          expect(entity.endpoint !== "", `an endpoint of ${identity}`);
          expectCertificateOf(identity, entity, t.trust);
        }
      }
    },
  }),
];
