// The tester's key storage server: keeps keys in memory for managements and users under test, and answers wrongly where a purpose has
// it do so. It is written from the interface alone and shares no code with the reference's.
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import { createLocalJWKSet, decodeJwt, type JSONWebKeySet, jwtVerify } from "jose";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { GetKeyStatusResponseSchema, KeyState, KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { keyAddress } from "../../reference/communications/address.ts";
import { peerKey } from "../../reference/communications/peer.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import { implement, type Registration } from "../../reference/communications/service.ts";

/** The public keys of a management under test, as ListTokenKeys answers them. */
export type TokenKeysOf = (issuer: string) => Promise<string>;

/** What GetKeyStatus says otherwise than the truth. */
export type KeyStatusFault = "absent" | "unavailable" | { readonly owner: string };

interface StoredKey {
  readonly owner: string;
  readonly management: string;
  secret: Uint8Array | undefined;
  storedAt: Date | undefined;
  inUse: boolean;
}

export class TesterKeyStorage {
  readonly identity: string;
  readonly #tokenKeysOf: TokenKeysOf;
  readonly #keys = new Map<string, StoredKey>();
  readonly #requests = new Map<string, { readonly keyId: string; readonly management: string }>();
  readonly #redeemed = new Map<string, string>();
  readonly #faults = new Map<string, KeyStatusFault>();
  readonly #statusCallers = new Map<string, string[]>();

  constructor(identity: string, tokenKeysOf: TokenKeysOf) {
    this.identity = identity;
    this.#tokenKeysOf = tokenKeysOf;
  }

  /** Lies about the key in GetKeyStatus from now on; `undefined` tells the truth again. */
  lie(keyId: string, fault: KeyStatusFault | undefined): void {
    if (fault === undefined) this.#faults.delete(keyId);
    else this.#faults.set(keyId, fault);
  }

  /** Who has asked GetKeyStatus about the key, in order. */
  statusCallers(keyId: string): readonly string[] {
    return this.#statusCallers.get(keyId) ?? [];
  }

  /** Keeps a key that an owner could have stored here, without a call: the owner may be connected to another server. Answers its id and address. */
  hold(owner: string, management: string): { readonly id: string; readonly address: string } {
    const id = randomBytes(16).toString("hex");
    this.#keys.set(id, { owner, management, secret: randomBytes(32), storedAt: new Date(), inUse: false });
    return { id, address: keyAddress(this.identity, id) };
  }

  /** Whether a management has marked the key as used by a live contract. */
  inUse(keyId: string): boolean {
    return this.#keys.get(keyId)?.inUse ?? false;
  }

  get registration(): Registration<typeof KeyStorageService> {
    return implement(KeyStorageService, {
      registerKey: ({ requestId, managementIdentity }, context) => {
        const request = `${callerOf(context).identity} ${Buffer.from(requestId).toString("hex")}`;
        const known = this.#requests.get(request);
        if (known !== undefined && known.management !== managementIdentity)
          throw refusal(ErrorReason.REQUEST_ID_REUSED);
        const keyId = known?.keyId ?? randomBytes(16).toString("hex");
        if (known === undefined) {
          this.#requests.set(request, { keyId, management: managementIdentity });
          this.#keys.set(keyId, {
            owner: callerOf(context).identity,
            management: managementIdentity,
            secret: undefined,
            storedAt: undefined,
            inUse: false,
          });
        }
        const expiresAt = timestampFromDate(new Date(Date.now() + 24 * 60 * 60_000));
        return { keyId, keyAddress: keyAddress(this.identity, keyId), expiresAt };
      },
      storeKey: ({ keyId, key }, context) => {
        const row = this.#owned(keyId, context);
        if (row.secret !== undefined && !sameBytes(row.secret, key)) throw refusal(ErrorReason.KEY_EXISTS);
        row.secret ??= new Uint8Array(key);
        row.storedAt ??= new Date();
        return { storedAt: timestampFromDate(row.storedAt) };
      },
      getKeyStatus: ({ keyId }, context) => this.#status(keyId, callerOf(context).identity),
      getKey: async ({ accessToken, keyId, requestId }, context) => {
        const row = this.#keys.get(keyId);
        const { issuer, tokenId } = await this.#verified(accessToken, keyId, context);
        if (row?.secret === undefined) throw refusal(ErrorReason.KEY_NOT_STORED);
        if (row.management !== issuer) throw refusal(ErrorReason.TOKEN_ISSUER_NOT_NAMED);
        const use = `${callerOf(context).fingerprint} ${Buffer.from(requestId).toString("hex")}`;
        const first = this.#redeemed.get(`${issuer} ${tokenId}`);
        if (first !== undefined && first !== use) throw refusal(ErrorReason.TOKEN_REDEEMED);
        this.#redeemed.set(`${issuer} ${tokenId}`, use);
        return { key: row.secret };
      },
      deleteKey: ({ keyId }, context) => {
        const row = this.#owned(keyId, context);
        if (row.inUse) throw refusal(ErrorReason.OBJECT_IN_USE);
        this.#keys.delete(keyId);
        return {};
      },
      setKeyUse: ({ keyId, inUse }, context) => {
        const row = this.#keys.get(keyId);
        if (row?.management !== callerOf(context).identity) throw refusal(ErrorReason.KEY_NOT_FOUND);
        if (row.secret === undefined) throw refusal(ErrorReason.KEY_NOT_STORED);
        row.inUse = inUse;
        return {};
      },
    });
  }

  #status(keyId: string, caller: string) {
    const row = this.#keys.get(keyId);
    if (row === undefined || (caller !== row.owner && caller !== row.management))
      throw refusal(ErrorReason.KEY_NOT_FOUND);
    this.#statusCallers.set(keyId, [...this.statusCallers(keyId), caller]);
    const fault = this.#faults.get(keyId);
    if (fault === "absent") throw refusal(ErrorReason.KEY_NOT_FOUND);
    if (fault === "unavailable") throw refusal(ErrorReason.PEER_UNAVAILABLE);
    return create(GetKeyStatusResponseSchema, {
      state: row.secret === undefined ? KeyState.REGISTERED : KeyState.STORED,
      ownerIdentity: fault?.owner ?? row.owner,
      managementIdentity: row.management,
      inUse: row.inUse,
      ...(row.storedAt && { storedAt: timestampFromDate(row.storedAt) }),
    });
  }

  /** A user's own key; another's is answered as none. */
  #owned(keyId: string, context: HandlerContext): StoredKey {
    const row = this.#keys.get(keyId);
    if (row === undefined || row.owner !== callerOf(context).identity) throw refusal(ErrorReason.KEY_NOT_FOUND);
    return row;
  }

  async #verified(token: string, keyId: string, context: HandlerContext): Promise<{ issuer: string; tokenId: string }> {
    if (token === "") throw refusal(ErrorReason.TOKEN_MISSING);
    try {
      const { iss: issuer = "" } = decodeJwt(token);
      const keys = JSON.parse(await this.#tokenKeysOf(issuer)) as JSONWebKeySet;
      const { payload } = await jwtVerify<Claims>(token, createLocalJWKSet(keys), {
        issuer,
        audience: this.identity,
        typ: "at+jwt",
        algorithms: ["ES256", "EdDSA", "Ed25519"],
        clockTolerance: 60,
      });
      const thumbprint = Buffer.from(callerOf(context).fingerprint, "hex").toString("base64url");
      if (payload.cnf?.["x5t#S256"] !== thumbprint) throw refusal(ErrorReason.TOKEN_BINDING_MISMATCH);
      if (!payload.authorization_details?.some((detail) => detail.key_id === keyId))
        throw refusal(ErrorReason.TOKEN_KEY_MISMATCH);
      return { issuer, tokenId: payload.jti ?? "" };
    } catch (cause) {
      if (cause instanceof Error && cause.name.startsWith("JW")) throw refusal(ErrorReason.TOKEN_INVALID);
      throw cause;
    }
  }
}

interface Claims {
  readonly cnf?: Readonly<Record<string, unknown>>;
  readonly authorization_details?: readonly { readonly key_id?: unknown }[];
}

function callerOf(context: HandlerContext) {
  return context.values.get(peerKey);
}

function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();
  return timingSafeEqual(digest(left), digest(right));
}
