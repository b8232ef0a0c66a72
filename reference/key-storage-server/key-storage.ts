// Key storage management (KSM, clause 6.2.3): takes keys from providers (KSM1, KSM2), stores them securely (KSM3), notifies (KSM4), and
// sends a key to the consumer (KSM6) on the result of token verification (KSM5).
import { randomBytes, timingSafeEqual } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import {
  DeleteKeyResponseSchema,
  GetKeyResponseSchema,
  GetKeyStatusResponseSchema,
  KeyState,
  KeyStorageService,
  type RegisterKeyRequest,
  RegisterKeyResponseSchema,
  SetKeyUseResponseSchema,
  StoreKeyResponseSchema,
} from "../../gen/x1410/v1/key_storage_pb.ts";
import type { TokenVerificationService, VerifyTokenResponse } from "../../gen/x1410/v1/token_verification_pb.ts";
import { keyAddress } from "../communications/address.ts";
import type { EntityRegistry } from "../communications/entity-registry.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import type { Log } from "../communications/log.ts";
import { type Peer, peerKey } from "../communications/peer.ts";
import { reasonOf, refusal, subjectOf } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import { commit, put, type Store } from "../store/durable-batch.ts";
import { Holdings } from "../store/holdings.ts";
import { type KeyRow, KeyTable } from "./key-table.ts";
import { KeyCorruptError, type KeyWrapper } from "./key-wrapping.ts";
import { TokenRedemptions } from "./token-redemption.ts";

/** A registration that is not filled by then ends. */
export const REGISTRATION_LIFETIME_MS = 24 * 60 * 60_000;

/** For one identity. */
export interface KeyStorageLimits {
  /** Registrations that are neither filled nor over. */
  readonly openRegistrations: number;
  readonly storedKeys: number;
}

/** Generous: what one user has is small, and what many make together is the operator's to judge. */
export const defaultKeyStorageLimits: KeyStorageLimits = { openRegistrations: 10_000, storedKeys: 100_000 };

export interface KeyStorageDependencies {
  /** Of key storage management alone. */
  readonly store: Store;
  /** The key storage server. */
  readonly identity: string;
  readonly registry: EntityRegistry;
  readonly wrapper: KeyWrapper;
  readonly limits: KeyStorageLimits;
  readonly tokenVerification: Client<typeof TokenVerificationService>;
  readonly now: () => Date;
  readonly log: Log;
}

export interface KeyStorage {
  readonly registration: Registration<typeof KeyStorageService>;
  /** Counts what each identity holds. Before the first call is served. */
  count(): Promise<void>;
  /**
   * Wraps every key anew that is not under the current key-encryption key, and retires those that then wrap nothing. Stopped by `signal`,
   * it leaves the rest for the next time.
   */
  rewrap(signal: AbortSignal): Promise<void>;
  /** Forgets what nobody can ask for any more: ended registrations, deleted keys, redemptions of expired tokens. */
  sweep(): Promise<void>;
}

export function createKeyStorage(dependencies: KeyStorageDependencies): KeyStorage {
  const { store, identity, registry, wrapper, limits, tokenVerification, now, log } = dependencies;
  const table = new KeyTable(store);
  const holdings = new Holdings({
    limits: { registrations: limits.openRegistrations, objects: limits.storedKeys, bytes: Number.POSITIVE_INFINITY },
    now,
  });
  const redemptions = new TokenRedemptions({ store, now });
  const requestMutex = new KeyedMutex();
  const keyMutex = new KeyedMutex();

  const registrationOver = (row: KeyRow) => row.stored === undefined && now().getTime() >= row.expiresAt;

  /** The row, to whoever `mayAsk`; to everyone else the key does not exist. */
  const find = async (keyId: string, mayAsk: (row: KeyRow) => boolean): Promise<KeyRow> => {
    const row = await table.get(keyId);
    if (row === undefined || row.deletedAt !== undefined || !mayAsk(row)) throw notFound(keyId);
    return row;
  };

  const register = async (owner: string, { requestId, managementIdentity }: RegisterKeyRequest) => {
    const earlier = await table.byRequest(owner, requestId);
    if (earlier !== undefined && earlier.row.deletedAt === undefined && !registrationOver(earlier.row)) {
      if (earlier.row.management === managementIdentity) return earlier;
      throw refusal(ErrorReason.REQUEST_ID_REUSED, "request_id");
    }
    if (!(await registry.has(managementIdentity))) {
      throw refusal(ErrorReason.ENTITY_NOT_REGISTERED, "management_identity");
    }
    const registeredAt = now().getTime();
    const keyId = randomBytes(16).toString("hex");
    const row: KeyRow = {
      owner,
      management: managementIdentity,
      requestId: Buffer.from(requestId).toString("hex"),
      registeredAt,
      expiresAt: registeredAt + REGISTRATION_LIFETIME_MS,
      inUse: false,
    };
    holdings.register(owner, keyId, row.expiresAt);
    try {
      await commit(store, table.registered(keyId, row));
    } catch (cause) {
      holdings.endRegistration(owner, keyId);
      throw cause;
    }
    return { keyId, row };
  };

  const unwrap = async (keyId: string, { owner, management, stored }: KeyRow): Promise<Uint8Array> => {
    if (stored === undefined) throw refusal(ErrorReason.KEY_NOT_STORED, keyId);
    try {
      return await wrapper.unwrap(stored.wrapped, { keyId, owner, management });
    } catch (cause) {
      if (!(cause instanceof KeyCorruptError)) throw cause;
      // Wrapped anew since the row was read, and the key-encryption key that it named is retired: the row of now opens.
      const latest = await table.get(keyId);
      if (latest?.stored !== undefined && latest.stored.wrapped.kekId !== stored.wrapped.kekId) {
        return unwrap(keyId, latest);
      }
      log.error("key corrupt", { keyId });
      throw refusal(ErrorReason.KEY_CORRUPT, keyId);
    }
  };

  /** Wraps and stores. Where the key-encryption key was rotated meanwhile, once more: the old one is about to be retired. */
  const seal = async (keyId: string, row: KeyRow, key: Uint8Array, at: number): Promise<void> => {
    const { owner, management } = row;
    for (;;) {
      const wrapped = await wrapper.wrap(key, { keyId, owner, management });
      await commit(store, [put(table.keys, keyId, { ...row, stored: { at, wrapped } })]);
      if (wrapped.kekId === wrapper.currentKekId()) return;
    }
  };

  const storeKey = async (owner: string, keyId: string, key: Uint8Array): Promise<number> => {
    const row = await find(keyId, (candidate) => candidate.owner === owner);
    if (row.stored !== undefined) {
      const present = await unwrap(keyId, row);
      const same = present.byteLength === key.byteLength && timingSafeEqual(present, key);
      present.fill(0);
      if (!same) throw refusal(ErrorReason.KEY_EXISTS, keyId);
      return row.stored.at;
    }
    if (registrationOver(row)) throw refusal(ErrorReason.REGISTRATION_EXPIRED, keyId);
    const at = now().getTime();
    holdings.hold(owner, keyId, 0);
    try {
      await seal(keyId, row, key, at);
    } catch (cause) {
      holdings.release(owner, keyId);
      throw cause;
    }
    holdings.endRegistration(owner, keyId);
    return at;
  };

  /** KSM5. A verification that cannot be had is a refusal like any other. */
  const verify = async (accessToken: string, keyId: string, peer: Peer, signal: AbortSignal) => {
    if (accessToken === "") throw refusal(ErrorReason.TOKEN_MISSING);
    // A connection by pre-shared key has no certificate that a token could be bound to.
    if (peer.fingerprint === "") throw refusal(ErrorReason.TOKEN_BINDING_MISMATCH);
    const consumerCertificateSha256 = new Uint8Array(Buffer.from(peer.fingerprint, "hex"));
    let result: VerifyTokenResponse;
    try {
      result = await tokenVerification.verifyToken({ accessToken, consumerCertificateSha256, keyId }, { signal });
    } catch (cause) {
      const reason = reasonOf(cause);
      if (reason === ErrorReason.UNSPECIFIED) throw refusal(ErrorReason.INTROSPECTION_UNAVAILABLE, "verification");
      throw refusal(reason, subjectOf(cause));
    }
    if (result.consumerIdentity !== peer.identity) throw refusal(ErrorReason.TOKEN_BINDING_MISMATCH);
    return result;
  };

  const registration = implement(KeyStorageService, {
    async registerKey(request, context) {
      const owner = context.values.get(peerKey).identity;
      const name = `${owner} ${Buffer.from(request.requestId).toString("hex")}`;
      const { keyId, row } = await requestMutex.run(name, () => register(owner, request));
      return create(RegisterKeyResponseSchema, {
        keyId,
        keyAddress: keyAddress(identity, keyId),
        expiresAt: timestampFromMs(row.expiresAt),
      });
    },

    async storeKey({ keyId, key }, context) {
      const owner = context.values.get(peerKey).identity;
      try {
        const at = await keyMutex.run(keyId, () => storeKey(owner, keyId, key));
        return create(StoreKeyResponseSchema, { storedAt: timestampFromMs(at) });
      } finally {
        key.fill(0);
      }
    },

    async getKeyStatus({ keyId }, context) {
      const caller = context.values.get(peerKey).identity;
      const row = await find(keyId, ({ owner, management }) => caller === owner || caller === management);
      if (registrationOver(row)) throw notFound(keyId);
      return create(GetKeyStatusResponseSchema, {
        state: row.stored === undefined ? KeyState.REGISTERED : KeyState.STORED,
        ownerIdentity: row.owner,
        managementIdentity: row.management,
        inUse: row.inUse,
        ...(row.stored === undefined ? {} : { storedAt: timestampFromMs(row.stored.at) }),
      });
    },

    async getKey({ accessToken, keyId, requestId }, context) {
      const peer = context.values.get(peerKey);
      const { issuer, tokenId, expiresAt } = await verify(accessToken, keyId, peer, context.signal);
      const row = await find(keyId, (candidate) => !registrationOver(candidate));
      if (row.management !== issuer) throw refusal(ErrorReason.TOKEN_ISSUER_NOT_NAMED, keyId);
      // First whether there is a key to release, so that a token is not spent on none; then the record; then the key leaves.
      const key = await unwrap(keyId, row);
      try {
        await redemptions.redeem({
          issuer,
          tokenId,
          keyId,
          fingerprint: peer.fingerprint,
          requestId: Buffer.from(requestId).toString("hex"),
          expiresAt: expiresAt === undefined ? now() : timestampDate(expiresAt),
        });
      } catch (cause) {
        key.fill(0);
        throw cause;
      }
      return create(GetKeyResponseSchema, { key });
    },

    async deleteKey({ keyId }, context) {
      const caller = context.values.get(peerKey).identity;
      await keyMutex.run(keyId, async () => {
        const row = await table.get(keyId);
        if (row?.owner !== caller) throw notFound(keyId);
        if (row.deletedAt !== undefined) return;
        if (row.inUse) throw refusal(ErrorReason.OBJECT_IN_USE, keyId);
        await commit(store, table.deleted(keyId, row, now().getTime()));
        holdings.endRegistration(caller, keyId);
        holdings.release(caller, keyId);
      });
      return create(DeleteKeyResponseSchema);
    },

    async setKeyUse({ keyId, inUse }, context) {
      const caller = context.values.get(peerKey).identity;
      await keyMutex.run(keyId, async () => {
        const row = await find(keyId, ({ management }) => caller === management);
        if (row.stored === undefined) throw refusal(ErrorReason.KEY_NOT_STORED, keyId);
        if (row.inUse !== inUse) await commit(store, [put(table.keys, keyId, { ...row, inUse })]);
      });
      return create(SetKeyUseResponseSchema);
    },
  });

  /** In the row's turn, so that a key which is being stored under a former key-encryption key is not missed. */
  const rewrapOne = (keyId: string) =>
    keyMutex.run(keyId, async () => {
      const row = await table.get(keyId);
      if (row?.stored === undefined || row.stored.wrapped.kekId === wrapper.currentKekId()) return;
      const key = await unwrap(keyId, row);
      try {
        await seal(keyId, row, key, row.stored.at);
      } finally {
        key.fill(0);
      }
    });

  return {
    registration,
    async count() {
      const registered: { owner: string; id: string; expiresAt: number }[] = [];
      for await (const id of table.keys.keys()) {
        // Whose a damaged row is nobody knows.
        const row = await table.get(id).catch(() => undefined);
        if (row === undefined || row.deletedAt !== undefined) continue;
        const { owner, expiresAt, stored } = row;
        if (stored === undefined) registered.push({ owner, id, expiresAt });
        else holdings.recallObject(owner, id, 0);
      }
      holdings.recall(registered);
    },
    async rewrap(signal) {
      const current = wrapper.currentKekId();
      const former = new Set(wrapper.kekIds().filter((kekId) => kekId !== current));
      if (former.size === 0) return;
      let corrupt = 0;
      for await (const keyId of table.keys.keys()) {
        if (signal.aborted) return;
        try {
          await rewrapOne(keyId);
        } catch (cause) {
          if (reasonOf(cause) !== ErrorReason.KEY_CORRUPT) throw cause;
          corrupt++;
        }
      }
      // A damaged row may be mended from a backup, and then its key-encryption key is needed.
      if (corrupt === 0) for (const kekId of former) await wrapper.retire(kekId);
      log.info("keys wrapped anew", { kekId: current, corrupt });
    },
    async sweep() {
      await redemptions.sweep();
      await table.sweep(now().getTime(), (keyId, task) => keyMutex.run(keyId, task));
    },
  };
}

function notFound(keyId: string) {
  return refusal(ErrorReason.KEY_NOT_FOUND, keyId);
}
