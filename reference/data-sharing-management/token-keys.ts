// The keys that sign access tokens (clause 6.2.2, TM2), and their public halves for the key storage servers that verify (clause 6.2.3, TV2).
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { join } from "node:path";
import { calculateJwkThumbprint, exportJWK, type JWK } from "jose";
import { makePrivateDirectory, PRIVATE_FILE, readIfPresent, writeDurably } from "../../certs/durable-file.ts";

/** ECDSA on P-256 with SHA-256 (RFC 7518): what RFC 9068 verifiers have, and the mandatory algorithm of this profile. */
export const TOKEN_ALGORITHM = "ES256";

/** A retired key stays published for longer than any token lives that it signed, clock skew of both sides included. */
const RETIRED_KEY_PUBLISHED_MS = 15 * 60_000;

const FILE_NAME = "token-keys.json";

export interface TokenSigningKey {
  /** Thumbprint of the public key (RFC 7638). */
  readonly kid: string;
  readonly privateKey: KeyObject;
}

export interface TokenKeys {
  /** The key that signs now. */
  current(): TokenSigningKey;
  /**
   * JSON Web Key Set (RFC 7517): the current key, the next one, so that a verifier knows it before the first token that it signs, and
   * retired ones for as long as their tokens live.
   */
  jwks(): { keys: JWK[] };
  /** When the current key became it, in milliseconds since 1970; undefined where a former version has not recorded it. */
  rotatedAt(): number | undefined;
  /** Makes the next key the current one. The change is durable before it takes effect; a retired private key is not kept. */
  rotate(): Promise<void>;
}

interface StoredKey {
  readonly publicJwk: JWK;
  /** PKCS#8 in PEM; absent once retired. */
  readonly privateKeyPem?: string;
  /** Milliseconds since 1970; absent unless retired. */
  readonly retiredAt?: number;
}

interface StoredKeys {
  /** Milliseconds since 1970. */
  readonly rotatedAt?: number;
  readonly current: StoredKey;
  readonly next: StoredKey;
  readonly retired: readonly StoredKey[];
}

/**
 * Opens the keys kept in `directory` (a file of mode 0600), making them at first use.
 * @throws Error where the file is damaged, naming the file and nothing of its contents.
 */
export async function openTokenKeys(options: { directory: string; now: () => Date }): Promise<TokenKeys> {
  const { directory, now } = options;
  const file = join(directory, FILE_NAME);
  let stored = readKeys(file);
  if (stored === undefined) {
    stored = { rotatedAt: now().getTime(), current: await newKey(), next: await newKey(), retired: [] };
    makePrivateDirectory(directory);
    writeKeys(file, stored);
  }
  let keys: StoredKeys = stored;
  let signing = signingKey(keys.current, file);
  signingKey(keys.next, file);
  let rotation: Promise<void> = Promise.resolve();

  const published = (key: StoredKey) => now().getTime() - (key.retiredAt ?? 0) < RETIRED_KEY_PUBLISHED_MS;
  const rotateOnce = async () => {
    const rotatedAt = now().getTime();
    const retired = [{ publicJwk: keys.current.publicJwk, retiredAt: rotatedAt }, ...keys.retired.filter(published)];
    const rotated: StoredKeys = { rotatedAt, current: keys.next, next: await newKey(), retired };
    writeKeys(file, rotated);
    signing = signingKey(rotated.current, file);
    keys = rotated;
  };

  return {
    current: () => signing,
    rotatedAt: () => keys.rotatedAt,
    jwks: () => ({
      keys: [keys.current, keys.next, ...keys.retired.filter(published)].map(({ publicJwk }) => publicJwk),
    }),
    rotate() {
      // One after the other, so that two rotations at once retire two keys and lose none.
      const turn = rotation.then(rotateOnce);
      rotation = turn.catch(() => undefined);
      return turn;
    },
  };
}

async function newKey(): Promise<StoredKey> {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = await exportJWK(publicKey);
  return {
    publicJwk: { ...jwk, kid: await calculateJwkThumbprint(jwk), alg: TOKEN_ALGORITHM, use: "sig" },
    privateKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
  };
}

function signingKey(key: StoredKey, file: string): TokenSigningKey {
  const { publicJwk, privateKeyPem } = key;
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(privateKeyPem ?? "");
  } catch {
    throw damaged(file);
  }
  const { x } = createPublicKey(privateKey).export({ format: "jwk" });
  if (publicJwk.kid === undefined || x !== publicJwk.x) throw damaged(file);
  return { kid: publicJwk.kid, privateKey };
}

function readKeys(file: string): StoredKeys | undefined {
  const content = readIfPresent(file);
  if (content === undefined) return undefined;
  try {
    const keys = JSON.parse(content.toString("utf8")) as StoredKeys;
    if (keys.current.publicJwk === undefined || keys.next.publicJwk === undefined || !Array.isArray(keys.retired)) {
      throw damaged(file);
    }
    return keys;
  } catch {
    throw damaged(file);
  }
}

function writeKeys(file: string, keys: StoredKeys): void {
  writeDurably(file, `${JSON.stringify(keys)}\n`, PRIVATE_FILE);
}

function damaged(file: string): Error {
  return new Error(`${file} is damaged: restore it, or remove it so that new token keys are made`);
}
