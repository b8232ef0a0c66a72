// Tokens with other claims, signed with a key of the mutant's own that it publishes beside the stack's: what a token management gives that
// issues them wrongly. Under the stack's signature nothing would be proven but that signatures are verified.
import { generateKeyPairSync } from "node:crypto";
import { decodeJwt, decodeProtectedHeader, exportJWK, type JSONWebKeySet, SignJWT } from "jose";

export type Claims = (claims: Record<string, unknown>) => Record<string, unknown>;

const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const kid = "of-the-mutant";

/** The token with its claims altered, rightly signed. */
export function withClaims(token: string, alter: Claims): Promise<string> {
  return new SignJWT(alter(decodeJwt(token)))
    .setProtectedHeader({ ...decodeProtectedHeader(token), alg: "ES256", kid })
    .sign(privateKey);
}

/** The key set, with the key that verifies such tokens. */
export async function withOwnKey(jwks: string): Promise<string> {
  const { keys } = JSON.parse(jwks) as JSONWebKeySet;
  return JSON.stringify({ keys: [...keys, { ...(await exportJWK(publicKey)), kid, alg: "ES256", use: "sig" }] });
}
