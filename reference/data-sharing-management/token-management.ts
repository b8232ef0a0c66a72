// Token management (TM, clause 6.2.2): takes the order of a token (TM1, F4.5), creates it (TM2, F4.6) and hands it back (TM3, F4.7).
import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { SignJWT } from "jose";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import {
  type CreateTokenRequest,
  CreateTokenResponseSchema,
  IntrospectTokenResponseSchema,
  ListTokenKeysResponseSchema,
  RevokeTokenResponseSchema,
  TokenService,
} from "../../gen/x1410/v1/token_pb.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import { peerKey } from "../communications/peer.ts";
import { refusal } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import { commit, jsonTable, put, type Store, textTable } from "../store/durable-batch.ts";
import { rotationDue } from "../store/rotation-schedule.ts";
import { TOKEN_ALGORITHM, type TokenKeys } from "./token-keys.ts";

/** No token lives longer than this. */
const TOKEN_LIFETIME_S = 5 * 60;

/** Type of the entry in `authorization_details` (RFC 9396) that names what a token opens. */
const AUTHORIZATION_TYPE = "x1410_key";

const OPERATOR_PREFIX = "urn:x1410:entity:operator:";

export interface TokenManagementDependencies {
  /** Of token management alone. */
  readonly store: Store;
  readonly keys: TokenKeys;
  /** Identity of the management: the tokens' issuer. */
  readonly identity: string;
  readonly now: () => Date;
}

export interface TokenManagement {
  readonly registration: Registration<typeof TokenService>;
  /** Where the present key is `intervalMs` old: signs with the next one from now on; the present one stays published while its tokens live. */
  rotateWhenDue(intervalMs: number): Promise<void>;
}

/**
 * What is kept of a token: its claims and never the token itself, so that nobody can take a token out of the store. The same order again
 * gets the same claims under a new signature.
 */
interface IssuedToken {
  readonly tokenId: string;
  readonly accessId: string;
  readonly contractAddress: string;
  readonly consumer: string;
  /** SHA-256 of the consumer's certificate in base64url, as in `cnf` (RFC 8705). */
  readonly certificateThumbprint: string;
  readonly keyId: string;
  readonly keyServer: string;
  readonly packageId: string;
  /** NumericDate (RFC 7519): seconds since 1970. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** When the permission ends; absent where it does not, and in what a former version has issued. */
  readonly notAfter?: number;
  readonly revoked: boolean;
}

export function createTokenManagement(dependencies: TokenManagementDependencies): TokenManagement {
  const { store, keys, identity, now } = dependencies;
  const tokensByAccess = jsonTable<IssuedToken>(store, "tokens");
  const accessByToken = textTable(store, "token-ids");
  const accessMutex = new KeyedMutex();

  /** F4.6: the first order of an access decides the token; each further one finds it. */
  const issue = (order: CreateTokenRequest) =>
    accessMutex.run(order.accessId, async () => {
      const known = await tokensByAccess.get(order.accessId);
      if (known !== undefined) {
        if (!isFor(known, order)) throw refusal(ErrorReason.REQUEST_INVALID, "access_id");
        return known;
      }
      const token = newToken(order, now());
      await commit(store, [
        put(tokensByAccess, token.accessId, token),
        put(accessByToken, token.tokenId, token.accessId),
      ]);
      return token;
    });

  const find = async (tokenId: string): Promise<IssuedToken> => {
    const accessId = await accessByToken.get(tokenId);
    const token = accessId === undefined ? undefined : await tokensByAccess.get(accessId);
    if (token === undefined) throw refusal(ErrorReason.TOKEN_NOT_FOUND, tokenId);
    return token;
  };

  const registration = implement(TokenService, {
    async createToken(order) {
      const token = await issue(order);
      return create(CreateTokenResponseSchema, {
        accessToken: await signed(token, identity, keys),
        tokenId: token.tokenId,
        expiresAt: timestampFromMs(token.expiresAt * 1000),
      });
    },

    async introspectToken({ tokenId }, context) {
      const token = await find(tokenId);
      // Only the server that the token is meant for learns anything about it.
      if (context.values.get(peerKey).identity !== token.keyServer) {
        throw refusal(ErrorReason.CALLER_NOT_ALLOWED, "audience");
      }
      return create(IntrospectTokenResponseSchema, {
        active: !token.revoked && now().getTime() < token.expiresAt * 1000,
        expiresAt: timestampFromMs(token.expiresAt * 1000),
      });
    },

    listTokenKeys() {
      return create(ListTokenKeysResponseSchema, { issuer: identity, jwks: JSON.stringify(keys.jwks()) });
    },

    async revokeToken({ tokenId }, context) {
      const caller = context.values.get(peerKey).identity;
      const { accessId, consumer } = await find(tokenId);
      // To a consumer another one's token is the same as none.
      if (!caller.startsWith(OPERATOR_PREFIX) && caller !== consumer) {
        throw refusal(ErrorReason.TOKEN_NOT_FOUND, tokenId);
      }
      await accessMutex.run(accessId, async () => {
        const token = await find(tokenId);
        if (!token.revoked) await commit(store, [put(tokensByAccess, accessId, { ...token, revoked: true })]);
      });
      return create(RevokeTokenResponseSchema);
    },
  });

  return {
    registration,
    async rotateWhenDue(intervalMs) {
      if (rotationDue(keys.rotatedAt(), intervalMs, now())) await keys.rotate();
    },
  };
}

function newToken(order: CreateTokenRequest, at: Date): IssuedToken {
  const issuedAt = Math.floor(at.getTime() / 1000);
  // Rounded down, so that the token never outlives the permission by a part of a second.
  const notAfter =
    order.notAfter === undefined ? undefined : Math.floor(timestampDate(order.notAfter).getTime() / 1000);
  return {
    tokenId: randomBytes(16).toString("hex"),
    accessId: order.accessId,
    contractAddress: order.contractAddress,
    consumer: order.consumerIdentity,
    certificateThumbprint: Buffer.from(order.consumerCertificateSha256).toString("base64url"),
    keyId: order.keyId,
    keyServer: order.keyServerIdentity,
    packageId: order.packageId,
    issuedAt,
    expiresAt: Math.min(issuedAt + TOKEN_LIFETIME_S, notAfter ?? Number.POSITIVE_INFINITY),
    ...(notAfter !== undefined && { notAfter }),
    revoked: false,
  };
}

function isFor(token: IssuedToken, order: CreateTokenRequest): boolean {
  return (
    token.contractAddress === order.contractAddress &&
    token.consumer === order.consumerIdentity &&
    token.certificateThumbprint === Buffer.from(order.consumerCertificateSha256).toString("base64url") &&
    token.keyId === order.keyId &&
    token.keyServer === order.keyServerIdentity &&
    token.packageId === order.packageId
  );
}

/** The JWT after RFC 9068, bound to the consumer's certificate (RFC 8705). */
function signed(token: IssuedToken, issuer: string, keys: TokenKeys): Promise<string> {
  const { kid, privateKey } = keys.current();
  return new SignJWT({
    iss: issuer,
    aud: token.keyServer,
    sub: token.consumer,
    client_id: token.consumer,
    jti: token.tokenId,
    iat: token.issuedAt,
    nbf: token.issuedAt,
    exp: token.expiresAt,
    cnf: { "x5t#S256": token.certificateThumbprint },
    authorization_details: [
      {
        type: AUTHORIZATION_TYPE,
        key_id: token.keyId,
        package_id: token.packageId,
        contract: token.contractAddress,
        access_id: token.accessId,
        // Clocks may differ by a minute at `exp`, but not where the provider's permission ends.
        ...(token.notAfter !== undefined && { not_after: token.notAfter }),
      },
    ],
  })
    .setProtectedHeader({ alg: TOKEN_ALGORITHM, typ: "at+jwt", kid })
    .sign(privateKey);
}
