// Tokens with other claims than were signed: what a token management that issues them wrongly would give to a consumer.

/** The token with its claims altered, its signature as it was. */
export function withClaims(token: string, alter: (claims: Record<string, unknown>) => Record<string, unknown>): string {
  const [header, payload = "", signature] = token.split(".");
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as Record<string, unknown>;
  return [header, Buffer.from(JSON.stringify(alter(claims))).toString("base64url"), signature].join(".");
}
