// Faulty access management, token management and permission management (clauses 6.2.2, 7.2.3, 7.2.4).
import { randomBytes } from "node:crypto";
import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  DataSharingAccessService,
  type RequestAccessResponse,
  RequestAccessResponseSchema,
} from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { type RequestedPermission, RequestedPermissionSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { TokenService } from "../../gen/x1410/v1/token_pb.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import { signMessage } from "../../reference/envelope/sign.ts";
import { accepting } from "./accepting.ts";
import { type Alteration, type Mutant, unary } from "./mutant.ts";
import { type Claims, withClaims, withOwnKey } from "./token-claims.ts";

const { requestAccess, listUsageRecords } = DataSharingAccessService.method;

const { introspectToken, revokeToken } = TokenService.method;

const revoked = new Set<string>();

/** The last grant of this process, which a management that does not count would give again. */
let lastGrant: RequestAccessResponse | undefined;

/** Requested permissions with other terms, which the management has signed. */
const rightlySigned: readonly (Pick<Mutant, "id" | "breaks" | "expectation"> & {
  readonly alter: (permission: RequestedPermission) => void;
})[] = [
  {
    id: "apm-grants-more",
    breaks: "the requested permission allows an access more than the provider set",
    expectation: "access 1 of 3",
    alter: (permission) => {
      permission.accessTimes += 1;
    },
  },
  {
    id: "apm-lets-it-be-kept",
    breaks: "the requested permission does not say read-only where the provider did",
    expectation: "read-only",
    alter: (permission) => {
      permission.readOnly = false;
    },
  },
  {
    id: "apm-lives-on",
    breaks: "the requested permission expires a day late",
    expectation: "the expiration that the provider set",
    alter: ({ expiration }) => {
      if (expiration !== undefined) expiration.seconds += 86_400n;
    },
  },
];

export const accessManagementMutants: readonly Mutant[] = [
  {
    id: "dsam-accepts-altered-request",
    clause: "7.3.2",
    breaks: "the signature of an access request is not verified (DSAM1)",
    foundBy: ["TP/DSSM/DSAM/BI-01"],
    alterations: [onRefusedAccess(ErrorReason.SIGNATURE_INVALID)],
  },
  {
    id: "dsam-does-not-count",
    clause: "7.2.3",
    breaks: "more accesses are given than the permission grants",
    foundBy: ["TP/DSSM/DSAM/BO-01", "TP/DSSM/DSAM/BV-04"],
    alterations: [onRefusedAccess(ErrorReason.ACCESS_TIMES_EXHAUSTED)],
  },
  {
    id: "dsam-records-again",
    clause: "7.3.2",
    breaks: "the identical request gets another record",
    foundBy: ["TP/DSSM/DSAM/BV-01", "TP/DSSM/DSAM/BV-02"],
    alterations: [
      onGranted((grant) => ({
        ...grant,
        ...(grant.record && { record: { ...grant.record, accessId: differing(grant.record.accessId) } }),
      })),
    ],
  },
  {
    id: "dsam-proves-nothing",
    clause: "7.3.2",
    breaks: "the access is not shown to be on the ledger (DSAM3)",
    foundBy: ["TP/DSSM/DSAM/BV-12"],
    alterations: [onGranted(({ proof: _, ...grant }) => grant)],
  },
  {
    id: "dsam-forgets-the-permission",
    clause: "7.3.2",
    breaks: "no requested permission comes with the access (APM6)",
    foundBy: ["TP/DSSM/DSAM/BV-06"],
    alterations: [onGranted(({ requestedPermission: _, ...grant }) => grant)],
  },
  {
    id: "apm-alters-the-permission",
    clause: "7.2.3",
    breaks: "the requested permission is not what the management signed",
    foundBy: ["TP/DSSM/DSAM/BV-06"],
    expectation: "SIGNATURE_INVALID",
    alterations: [
      onGranted((grant) => {
        const envelope = grant.requestedPermission;
        if (envelope === undefined) return grant;
        const payload = Buffer.from(envelope.payload);
        payload[payload.length - 1] = (payload[payload.length - 1] ?? 0) ^ 1;
        return { ...grant, requestedPermission: { ...envelope, payload } };
      }),
    ],
  },
  ...rightlySigned.map(
    ({ alter, ...row }): Mutant => ({
      ...row,
      clause: "7.2.3",
      foundBy: ["TP/DSSM/DSAM/BV-06"],
      alterations: [onSignedPermission(alter)],
    }),
  ),
  {
    id: "dsam-address-of-another-key",
    clause: "7.3.2",
    breaks: "the key's address is not the one that the provider gave (DSAM6)",
    foundBy: ["TP/ALL/F4/BV-01"],
    alterations: [
      onGranted((grant) => ({
        ...grant,
        ...(grant.key && { key: { ...grant.key, keyAddress: "x1410://kss.other/keys/0" } }),
      })),
    ],
  },
  {
    id: "dsam-sends-no-certificate",
    clause: "7.3.2",
    breaks: "the certificate of the data storage server is missing",
    foundBy: ["TP/ALL/F4/BV-01"],
    alterations: [
      onGranted((grant) => {
        if (grant.package?.server === undefined) return grant;
        const { certificate: _, ...server } = grant.package.server;
        return { ...grant, package: { ...grant.package, server } };
      }),
    ],
  },
  {
    id: "dsam-records-no-usage",
    clause: "7.2.4",
    breaks: "the provider sees no usage of its data (UR2)",
    foundBy: ["TP/DSSM/DSAM/BV-11"],
    alterations: [
      unary(listUsageRecords, (original) => async (request, context) => ({
        ...(await original(request, context)),
        records: [],
      })),
    ],
  },
  {
    id: "tm-does-not-bind",
    clause: "6.2.2",
    breaks: "the token is bound to no certificate",
    foundBy: ["TP/DSSM/TM/BV-01"],
    expectation: "bound to the consumer's certificate",
    alterations: reissued(({ cnf: _, ...claims }) => claims),
  },
  {
    id: "tm-token-for-everyone",
    clause: "6.2.2",
    breaks: "the token is meant for any key storage server",
    foundBy: ["TP/DSSM/TM/BV-01"],
    expectation: "the one key storage server as audience",
    alterations: reissued((claims) => ({ ...claims, aud: "urn:x1410:entity:kss:any" })),
  },
  {
    id: "tm-token-lives-on",
    clause: "6.2.2",
    breaks: "the token lives for an hour",
    foundBy: ["TP/DSSM/TM/BV-01"],
    expectation: "a lifetime of five minutes at most",
    alterations: reissued((claims) => ({ ...claims, exp: Number(claims["iat"]) + 3600 })),
  },
  {
    id: "tm-token-of-another-key",
    clause: "6.2.2",
    breaks: "the token names another key than the one that was granted",
    foundBy: ["TP/DSSM/TM/BV-01"],
    expectation: "the key and the access",
    alterations: reissued((claims) => ({
      ...claims,
      authorization_details: [
        { ...(claims["authorization_details"] as readonly object[])[0], key_id: randomBytes(16).toString("hex") },
      ],
    })),
  },
  {
    id: "tm-says-all-active",
    clause: "7.3.2",
    breaks: "every token is active, revoked or unknown",
    foundBy: ["TP/DSSM/TM/BO-02", "TP/DSSM/TM/BI-05"],
    alterations: [
      unary(introspectToken, (original) => async (request, context) => {
        const always = () => create(introspectToken.output);
        return { ...(await accepting(original(request, context), ErrorReason.TOKEN_NOT_FOUND, always)), active: true };
      }),
    ],
  },
  {
    id: "tm-says-none-active",
    clause: "7.3.2",
    breaks: "no token is active",
    foundBy: ["TP/DSSM/TM/BV-02"],
    expectation: "an active token",
    alterations: [
      unary(introspectToken, (original) => async (request, context) => ({
        ...(await original(request, context)),
        active: false,
      })),
    ],
  },
  {
    id: "tm-knows-no-token",
    clause: "7.3.2",
    breaks: "the right server is told that there is no such token",
    foundBy: ["TP/DSSM/TM/BV-02"],
    alterations: [
      unary(introspectToken, () => () => {
        throw refusal(ErrorReason.TOKEN_NOT_FOUND);
      }),
    ],
  },
  {
    id: "tm-lies-of-the-end",
    clause: "7.3.2",
    breaks: "IntrospectToken has another end of the token than its exp",
    foundBy: ["TP/DSSM/TM/BV-02"],
    expectation: "the time in the token's exp",
    alterations: [
      unary(introspectToken, (original) => async (request, context) => ({
        ...(await original(request, context)),
        expiresAt: timestampFromMs(Date.now()),
      })),
    ],
  },
  {
    id: "tm-revokes-in-name-only",
    clause: "6.2.2",
    breaks: "a revocation is confirmed and has no effect",
    foundBy: ["TP/DSSM/TM/BO-02"],
    alterations: [unary(revokeToken, () => async () => create(revokeToken.output))],
  },
  {
    id: "tm-revokes-once",
    clause: "6.2.2",
    breaks: "a token that was revoked cannot be revoked again",
    foundBy: ["TP/DSSM/TM/BV-03"],
    alterations: [
      unary(revokeToken, (original) => async (request, context) => {
        if (revoked.has(request.tokenId)) throw refusal(ErrorReason.TOKEN_NOT_FOUND);
        revoked.add(request.tokenId);
        return original(request, context);
      }),
    ],
  },
  {
    id: "tm-forges-its-signature",
    clause: "6.2.2",
    breaks: "the token is signed with a key that ListTokenKeys does not have",
    foundBy: ["TP/DSSM/TM/BV-01"],
    expectation: "a token that the published keys verify",
    alterations: reissued((claims) => claims).slice(0, 1),
  },
];

function onGranted(alter: (grant: RequestAccessResponse) => RequestAccessResponse): Alteration {
  return unary(requestAccess, (original) => async (request, context) => alter(await original(request, context)));
}

/** The requested permission altered, and signed again by the management. */
function onSignedPermission(alter: (permission: RequestedPermission) => void): Alteration {
  return {
    method: requestAccess,
    wrap: (original, signer) => async (input, context) => {
      const grant = (await original(input, context)) as RequestAccessResponse;
      if (grant.requestedPermission === undefined || signer === undefined) return grant;
      const permission = fromBinary(RequestedPermissionSchema, grant.requestedPermission.payload);
      alter(permission);
      return { ...grant, requestedPermission: signMessage(signer("dssm"), RequestedPermissionSchema, permission) };
    },
  };
}

/** Tokens with other claims, signed with a key that ListTokenKeys has as well: nothing but the claims is wrong. */
function reissued(alter: Claims): [Alteration, ...Alteration[]] {
  return [
    unary(requestAccess, (original) => async (request, context) => {
      const grant = await original(request, context);
      return { ...grant, accessToken: await withClaims(grant.accessToken, alter) };
    }),
    unary(TokenService.method.listTokenKeys, (original) => async (request, context) => {
      const answer = await original(request, context);
      return { ...answer, jwks: await withOwnKey(answer.jwks) };
    }),
  ];
}

/** Gives the last grant where the reference refuses for `reason`. */
function onRefusedAccess(reason: ErrorReason): Alteration {
  return unary(requestAccess, (original) => async (request, context) => {
    const grant = await accepting(
      original(request, context),
      reason,
      () => lastGrant ?? create(RequestAccessResponseSchema),
    );
    lastGrant = grant;
    return grant;
  });
}

let differences = 0;

function differing(accessId: string): string {
  differences += 1;
  return accessId.slice(0, -4) + (differences % 65_536).toString(16).padStart(4, "0");
}
