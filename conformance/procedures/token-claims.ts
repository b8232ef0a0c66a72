// What an access token says of itself (RFC 9068, RFC 8705), read by the consumer that holds it; its signature is the key storage
// server's business (TV2).
import { decodeJwt, decodeProtectedHeader } from "jose";
import { expect } from "./procedure.ts";

export interface TokenClaims {
  readonly tokenId: string;
  readonly audience: string;
  readonly keyId: string;
  readonly accessId: string;
  readonly lifetimeSeconds: number;
}

interface KeyDetail {
  readonly key_id?: unknown;
  readonly access_id?: unknown;
}

/** The claims of a token that is bound to the certificate of `certificateSha256`; a deviation where it is not. */
export function boundTo(token: string, certificateSha256: Uint8Array): { bound: TokenClaims; text: string } {
  const header = decodeProtectedHeader(token);
  expect(header.typ === "at+jwt", "an access token of type at+jwt (RFC 9068)");
  expect(header.alg !== undefined && /^(ES256|EdDSA|Ed25519)$/.test(header.alg), "an asymmetric algorithm of the list");
  const claims = decodeJwt<{ cnf?: Record<string, unknown>; authorization_details?: KeyDetail[] }>(token);
  const thumbprint = Buffer.from(certificateSha256).toString("base64url");
  expect(claims.cnf?.["x5t#S256"] === thumbprint, "a token bound to the consumer's certificate (RFC 8705)");
  expect(typeof claims.aud === "string" && typeof claims.jti === "string", "one audience and a token id");
  expect(claims.exp !== undefined && claims.iat !== undefined, "the times of issue and expiry");
  const [detail] = claims.authorization_details ?? [];
  expect(
    typeof detail?.key_id === "string" && typeof detail.access_id === "string",
    "authorization details with key and access",
  );
  const bound = {
    tokenId: claims.jti,
    audience: claims.aud,
    keyId: detail.key_id,
    accessId: detail.access_id,
    lifetimeSeconds: claims.exp - claims.iat,
  };
  return { bound, text: `token ${bound.tokenId} names key and access` };
}
