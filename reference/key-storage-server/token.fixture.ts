// A token management for tests: issues tokens of any shape, right or wrong, and answers what a key storage server asks of it.
import { generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { exportJWK, SignJWT } from "jose";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import {
  IntrospectTokenResponseSchema,
  ListTokenKeysResponseSchema,
  TokenService,
} from "../../gen/x1410/v1/token_pb.ts";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import type { Peer } from "../communications/peer.ts";
import { refusal } from "../communications/refusal.ts";
import { implement } from "../communications/service.ts";

export const KSS = "urn:x1410:entity:kss:one";

export interface TokenOrder {
  readonly keyId: string;
  readonly consumer: Peer;
}

export class TokenIssuer {
  readonly identity: string;
  readonly revoked = new Set<string>();
  readonly unknown = new Set<string>();
  reachable = true;
  /** Calls of ListTokenKeys. */
  fetches = 0;
  readonly #now: () => Date;
  #kid = "";
  #keys = new Map<string, { privateKey: KeyObject; publicKey: KeyObject; alg: string }>();

  constructor(identity: string, now: () => Date, algorithm: "ES256" | "EdDSA" = "ES256") {
    this.identity = identity;
    this.#now = now;
    this.rotate(algorithm);
  }

  rotate(alg: "ES256" | "EdDSA" = "ES256"): void {
    this.#kid = randomBytes(8).toString("hex");
    const pair = alg === "ES256" ? generateKeyPairSync("ec", { namedCurve: "P-256" }) : generateKeyPairSync("ed25519");
    this.#keys.set(this.#kid, { ...pair, alg });
  }

  /** Stops publishing all keys but the current one. */
  withdrawFormerKeys(): void {
    this.#keys = new Map([...this.#keys].filter(([kid]) => kid === this.#kid));
  }

  get client() {
    return bindDirect(this.registration, { peer: directPeer(KSS) });
  }

  /** The same, for a server of its own. */
  get registration() {
    return implement(TokenService, {
      listTokenKeys: async () => {
        this.fetches++;
        this.#assertReachable();
        const keys = await Promise.all(
          [...this.#keys].map(async ([kid, { publicKey, alg }]) => ({ ...(await exportJWK(publicKey)), kid, alg })),
        );
        return create(ListTokenKeysResponseSchema, { issuer: this.identity, jwks: JSON.stringify({ keys }) });
      },
      introspectToken: ({ tokenId }) => {
        this.#assertReachable();
        if (this.unknown.has(tokenId)) throw refusal(ErrorReason.TOKEN_NOT_FOUND);
        return create(IntrospectTokenResponseSchema, { active: !this.revoked.has(tokenId) });
      },
    });
  }

  get publicKey(): KeyObject {
    return this.#key().publicKey;
  }

  /** A good token, but for what `claims` and `header` change; `undefined` leaves a claim out. */
  issue(
    order: TokenOrder,
    claims: Record<string, unknown> = {},
    header: Record<string, unknown> = {},
    key: KeyObject | Uint8Array = this.#key().privateKey,
  ): Promise<string> {
    const seconds = Math.floor(this.#now().getTime() / 1000);
    return new SignJWT({
      iss: this.identity,
      aud: KSS,
      sub: order.consumer.identity,
      jti: randomBytes(16).toString("hex"),
      iat: seconds,
      nbf: seconds,
      exp: seconds + 300,
      cnf: { "x5t#S256": Buffer.from(order.consumer.fingerprint, "hex").toString("base64url") },
      authorization_details: [authorization(order.keyId)],
      ...claims,
    })
      .setProtectedHeader({ alg: this.#key().alg, typ: "at+jwt", kid: this.#kid, ...header })
      .sign(key);
  }

  #key() {
    const key = this.#keys.get(this.#kid);
    if (key === undefined) throw new Error("no key");
    return key;
  }

  #assertReachable(): void {
    if (!this.reachable) throw new ConnectError("no connection", Code.Unavailable);
  }
}

export function authorization(keyId: string) {
  return {
    type: "x1410_key",
    key_id: keyId,
    package_id: "b".repeat(32),
    contract: `x1410://dlt.test/contracts/${"c".repeat(32)}`,
    access_id: "d".repeat(32),
  };
}
