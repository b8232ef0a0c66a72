// The public keys of token issuers (TV2, clause 6.2.3), fetched from token management and kept, so that tokens are verified offline.
import type { Client } from "@connectrpc/connect";
import { type CryptoKey, importJWK, type JWK } from "jose";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { TokenService } from "../../gen/x1410/v1/token_pb.ts";
import { refusal } from "../communications/refusal.ts";

/** Token management of an issuer that is in the registry. */
export type TokenServices = (issuer: string) => Client<typeof TokenService> | Promise<Client<typeof TokenService>>;

/** Keys older than this are fetched again, so that one that the issuer has withdrawn stops verifying. */
const FRESH_MS = 5 * 60_000;
/** While the issuer cannot be reached, its keys are used for no longer than this. */
const USABLE_MS = 60 * 60_000;
/** Fetches from one issuer in any minute: forged key ids must not turn into load on token management. */
const FETCHES_PER_MINUTE = 12;
const FETCH_TIMEOUT_MS = 5_000;
const MAX_KEYS = 32;

/** Keys by kid and JOSE algorithm. */
type KeySet = ReadonlyMap<string, CryptoKey>;

interface Issuer {
  keys: KeySet;
  fetchedAt: number;
  /** When fetches of the last minute were made, failed ones too. */
  attempts: number[];
  fetching: Promise<void> | undefined;
}

export class IssuerKeys {
  readonly #tokenServices: TokenServices;
  readonly #now: () => Date;
  readonly #issuers = new Map<string, Issuer>();

  constructor({ tokenServices, now }: { tokenServices: TokenServices; now: () => Date }) {
    this.#tokenServices = tokenServices;
    this.#now = now;
  }

  /**
   * The key that `issuer` publishes under `kid` for `algorithm`; undefined where it publishes none. The caller has seen to it that the
   * issuer is registered.
   * @throws ConnectError INTROSPECTION_UNAVAILABLE where token management cannot be asked and no usable keys are at hand
   */
  async find(issuer: string, kid: string, algorithm: string): Promise<CryptoKey | undefined> {
    const known = this.#issuer(issuer);
    const name = keyName(kid, algorithm);
    if (this.#age(known) > FRESH_MS || !known.keys.has(name)) await this.#fetch(issuer, known);
    if (this.#age(known) > USABLE_MS) throw refusal(ErrorReason.INTROSPECTION_UNAVAILABLE, "token keys");
    return known.keys.get(name);
  }

  #issuer(identity: string): Issuer {
    let issuer = this.#issuers.get(identity);
    if (issuer === undefined) {
      issuer = { keys: new Map(), fetchedAt: Number.NEGATIVE_INFINITY, attempts: [], fetching: undefined };
      this.#issuers.set(identity, issuer);
    }
    return issuer;
  }

  #age({ fetchedAt }: Issuer): number {
    const age = this.#now().getTime() - fetchedAt;
    // A clock set back makes nothing fresh.
    return age < 0 ? Number.POSITIVE_INFINITY : age;
  }

  /** Fetches once for all who wait. A failure leaves the keys as they were. */
  #fetch(identity: string, issuer: Issuer): Promise<void> {
    issuer.fetching ??= this.#fetchOnce(identity, issuer).finally(() => {
      issuer.fetching = undefined;
    });
    return issuer.fetching;
  }

  async #fetchOnce(identity: string, issuer: Issuer): Promise<void> {
    const at = this.#now().getTime();
    issuer.attempts = issuer.attempts.filter((attempt) => attempt <= at && at - attempt < 60_000);
    if (issuer.attempts.length >= FETCHES_PER_MINUTE) return;
    issuer.attempts.push(at);
    try {
      const client = await this.#tokenServices(identity);
      const answer = await client.listTokenKeys({}, { timeoutMs: FETCH_TIMEOUT_MS });
      if (answer.issuer !== identity) return;
      issuer.keys = await importKeys(answer.jwks);
      issuer.fetchedAt = at;
    } catch {
      // Not reached, or no JSON Web Key Set: either way there is nothing newer than what is at hand.
    }
  }
}

/** Of a JSON Web Key Set (RFC 7517), the keys that may verify tokens: P-256 and Ed25519, meant for signatures, public. */
async function importKeys(jwks: string): Promise<KeySet> {
  const { keys } = JSON.parse(jwks) as { keys: JWK[] };
  const imported = new Map<string, CryptoKey>();
  for (const jwk of keys.slice(0, MAX_KEYS)) {
    const algorithms = algorithmsOf(jwk);
    if (typeof jwk.kid !== "string" || (jwk.use ?? "sig") !== "sig" || jwk.d !== undefined) continue;
    for (const algorithm of algorithms) {
      const key = await importJWK(jwk, algorithm);
      if (!(key instanceof Uint8Array)) imported.set(keyName(jwk.kid, algorithm), key);
    }
  }
  return imported;
}

/** The algorithm follows from the key, never from a token's header alone. */
function algorithmsOf({ kty, crv }: JWK): readonly string[] {
  if (kty === "EC" && crv === "P-256") return ["ES256"];
  // RFC 8037 says EdDSA, RFC 9864 says Ed25519.
  if (kty === "OKP" && crv === "Ed25519") return ["EdDSA", "Ed25519"];
  return [];
}

function keyName(kid: string, algorithm: string): string {
  return `${algorithm} ${kid}`;
}
