// Token verification (TV, clause 6.2.3): receives a token (TV1), verifies it (TV2) and answers the result to key storage management (TV3).
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { compactVerify, decodeJwt, decodeProtectedHeader, errors } from "jose";
import { parseIdentity } from "../../certs/identity.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { TokenVerificationService, VerifyTokenResponseSchema } from "../../gen/x1410/v1/token_verification_pb.ts";
import type { EntityRegistry } from "../communications/entity-registry.ts";
import { peerKey } from "../communications/peer.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import { IssuerKeys, type TokenServices } from "./issuer-keys.ts";

/** Clocks may differ by this much. */
export const CLOCK_SKEW_MS = 60_000;
/** No token lives longer, whatever its issuer says. */
const MAX_LIFETIME_S = 5 * 60;
/** Never `none`, and never a MAC, for which the issuer's public key would do as the secret (RFC 8725, 2.1). */
const ALGORITHMS = ["ES256", "EdDSA", "Ed25519"];
const AUTHORIZATION_TYPE = "x1410_key";
const INTROSPECTION_TIMEOUT_MS = 5_000;

export interface TokenVerificationDependencies {
  /** The key storage server: the one audience, and the one caller. */
  readonly identity: string;
  readonly registry: EntityRegistry;
  readonly tokenServices: TokenServices;
  readonly now: () => Date;
  /** `required`: token management is asked about each token as well, and silence is a refusal (F4.13.2, A2.10.2). */
  readonly introspection: "off" | "required";
}

/** What a token says, its signature and issuer verified. */
interface Claims {
  readonly issuer: string;
  readonly tokenId: string;
  readonly subject: string;
  /** NumericDate (RFC 7519): seconds since 1970. */
  readonly notBefore: number;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly certificateThumbprint: unknown;
  readonly authorizationDetails: unknown;
}

interface Authorization {
  readonly accessId: string;
  readonly contract: string;
  /** When the permission ends, NumericDate; undefined where the token does not say. */
  readonly notAfter: number | undefined;
}

export function createTokenVerification(
  dependencies: TokenVerificationDependencies,
): Registration<typeof TokenVerificationService> {
  const { identity, registry, tokenServices, now, introspection } = dependencies;
  const issuerKeys = new IssuerKeys({ tokenServices, now });

  /** Signature under a key that a registered management publishes; then the claims that every token has. */
  const verifiedClaims = async (token: string): Promise<Claims> => {
    const { kid, algorithm, issuer } = announced(token);
    if (parseIdentity(issuer)?.role !== "dssm" || !(await registry.has(issuer))) throw invalid("issuer");
    const key = await issuerKeys.find(issuer, kid, algorithm);
    if (key === undefined) throw invalid("key id");
    try {
      const { payload } = await compactVerify(token, key, { algorithms: ALGORITHMS });
      return claimsOf(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload)), identity);
    } catch (cause) {
      throw cause instanceof ConnectError ? cause : invalid("signature");
    }
  };

  const introspect = async ({ issuer, tokenId }: Claims): Promise<void> => {
    let active: boolean;
    try {
      const client = await tokenServices(issuer);
      ({ active } = await client.introspectToken({ tokenId }, { timeoutMs: INTROSPECTION_TIMEOUT_MS }));
    } catch (cause) {
      if (reasonOf(cause) === ErrorReason.TOKEN_NOT_FOUND) throw refusal(ErrorReason.TOKEN_REVOKED);
      // Fail closed: whatever else went wrong, nobody has said that the token is good.
      throw refusal(ErrorReason.INTROSPECTION_UNAVAILABLE);
    }
    if (!active) throw refusal(ErrorReason.TOKEN_REVOKED);
  };

  return implement(TokenVerificationService, {
    async verifyToken({ accessToken, consumerCertificateSha256, keyId }, context) {
      // Another key storage server has no business with tokens for this one.
      if (context.values.get(peerKey).identity !== identity) throw refusal(ErrorReason.CALLER_NOT_ALLOWED);
      if (accessToken === "") throw refusal(ErrorReason.TOKEN_MISSING);
      const claims = await verifiedClaims(accessToken);
      assertTimely(claims, now());
      // RFC 8705, 3: a stolen token is worth nothing with another certificate.
      const thumbprint = Buffer.from(consumerCertificateSha256).toString("base64url");
      if (claims.certificateThumbprint !== thumbprint) throw refusal(ErrorReason.TOKEN_BINDING_MISMATCH);
      const { accessId, contract, notAfter } = authorizationFor(keyId, claims);
      // The permission ends by this server's clock alone: no skew prolongs what the provider has allowed.
      if (notAfter !== undefined && now().getTime() >= notAfter * 1000) {
        throw refusal(ErrorReason.TOKEN_EXPIRED, "not_after");
      }
      if (introspection === "required") await introspect(claims);
      return create(VerifyTokenResponseSchema, {
        issuer: claims.issuer,
        tokenId: claims.tokenId,
        consumerIdentity: claims.subject,
        accessId,
        contractAddress: contract,
        expiresAt: timestampFromMs(claims.expiresAt * 1000),
      });
    },
  });
}

/** What an unverified token says about how to verify it. */
function announced(token: string): { kid: string; algorithm: string; issuer: string } {
  try {
    const { typ, alg, kid } = decodeProtectedHeader(token);
    const { iss } = decodeJwt(token);
    // RFC 9068, 2.1: the type keeps other JWTs of the same issuer from passing for access tokens.
    if (typ === undefined || !/^(application\/)?at\+jwt$/i.test(typ)) throw invalid("type");
    if (alg === undefined || !ALGORITHMS.includes(alg)) throw invalid("algorithm");
    if (typeof kid !== "string") throw invalid("key id");
    if (typeof iss !== "string") throw invalid("issuer");
    return { kid, algorithm: alg, issuer: iss };
  } catch (cause) {
    // jose throws its own errors, and a TypeError for what is no token at all.
    if (cause instanceof errors.JOSEError || cause instanceof TypeError) throw invalid("form");
    throw cause;
  }
}

function claimsOf(payload: Record<string, unknown>, audience: string): Claims {
  const { iss, sub, aud, jti, iat, nbf = iat, exp, cnf, authorization_details: authorizationDetails } = payload;
  const [only, ...others] = Array.isArray(aud) ? aud : [aud];
  if (only !== audience || others.length > 0) throw invalid("audience");
  if (typeof iss !== "string" || typeof sub !== "string") throw invalid("subject");
  if (typeof jti !== "string" || !/^[0-9a-f]{32}$/.test(jti)) throw invalid("token id");
  if (!isTime(iat) || !isTime(nbf) || !isTime(exp)) throw invalid("times");
  if (exp <= nbf || exp - Math.min(iat, nbf) > MAX_LIFETIME_S) throw invalid("lifetime");
  return {
    issuer: iss,
    tokenId: jti,
    subject: sub,
    issuedAt: iat,
    notBefore: nbf,
    expiresAt: exp,
    certificateThumbprint: isObject(cnf) ? cnf["x5t#S256"] : undefined,
    authorizationDetails,
  };
}

function assertTimely({ expiresAt, notBefore, issuedAt }: Claims, at: Date): void {
  const over = at.getTime() >= expiresAt * 1000 + CLOCK_SKEW_MS;
  const early = at.getTime() < Math.max(notBefore, issuedAt) * 1000 - CLOCK_SKEW_MS;
  if (over || early) throw refusal(ErrorReason.TOKEN_EXPIRED);
}

/** The entry of `authorization_details` (RFC 9396) that opens the key. Whether there is such a key plays no part. */
function authorizationFor(keyId: string, { authorizationDetails }: Claims): Authorization {
  const details: unknown[] = Array.isArray(authorizationDetails) ? authorizationDetails : [];
  for (const detail of details) {
    if (!isObject(detail) || detail["type"] !== AUTHORIZATION_TYPE || detail["key_id"] !== keyId) continue;
    const { contract, access_id: accessId, not_after: notAfter } = detail;
    if (typeof contract !== "string" || typeof accessId !== "string") throw invalid("authorization_details");
    if (notAfter !== undefined && !isTime(notAfter)) throw invalid("authorization_details");
    return { contract, accessId, notAfter };
  }
  throw refusal(ErrorReason.TOKEN_KEY_MISMATCH);
}

function invalid(what: string): ConnectError {
  return refusal(ErrorReason.TOKEN_INVALID, what);
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value > 0;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
