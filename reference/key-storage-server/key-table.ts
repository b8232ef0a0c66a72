// The rows of the key storage (KSM3): registrations, wrapped keys, and what is remembered of those that have ended.
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { refusal } from "../communications/refusal.ts";
import { type Change, commit, jsonTable, put, remove, type Store, type Table } from "../store/durable-batch.ts";
import type { WrappedKey } from "./key-wrapping.ts";

/** How long ended registrations and deleted keys are remembered, so that their owner is told what became of them. */
const REMEMBERED_MS = 30 * 24 * 60 * 60_000;

/** Times in milliseconds since 1970. */
export interface KeyRow {
  readonly owner: string;
  readonly management: string;
  /** Of the registration, hexadecimal. */
  readonly requestId: string;
  readonly registeredAt: number;
  readonly expiresAt: number;
  readonly inUse: boolean;
  readonly stored?: { readonly at: number; readonly wrapped: WrappedKey };
  readonly deletedAt?: number;
}

export class KeyTable {
  readonly #store: Store;
  readonly keys: Table<KeyRow>;
  /** Key id by owner and request id. */
  readonly #requests: Table<string>;

  constructor(store: Store) {
    this.#store = store;
    this.keys = jsonTable(store, "keys");
    this.#requests = jsonTable(store, "requests");
  }

  /** @throws ConnectError KEY_CORRUPT where the row cannot be read any more */
  async get(keyId: string): Promise<KeyRow | undefined> {
    try {
      return await this.keys.get(keyId);
    } catch (cause) {
      if ((cause as { code?: unknown }).code !== "LEVEL_DECODE_ERROR") throw cause;
      throw refusal(ErrorReason.KEY_CORRUPT, keyId);
    }
  }

  async byRequest(owner: string, requestId: Uint8Array): Promise<{ keyId: string; row: KeyRow } | undefined> {
    const keyId = await this.#requests.get(requestName(owner, Buffer.from(requestId).toString("hex")));
    const row = keyId === undefined ? undefined : await this.get(keyId);
    return keyId === undefined || row === undefined ? undefined : { keyId, row };
  }

  /** Whether any key is stored. */
  async holdsKeys(): Promise<boolean> {
    for await (const keyId of this.keys.keys()) {
      // A row that cannot be read may well be a key.
      const row = await this.get(keyId).catch(() => "damaged" as const);
      if (row === "damaged" || row?.stored !== undefined) return true;
    }
    return false;
  }

  registered(keyId: string, row: KeyRow): Change[] {
    return [put(this.keys, keyId, row), put(this.#requests, requestName(row.owner, row.requestId), keyId)];
  }

  /** The wrapped key goes; that there was one stays for a while, so that deleting again is confirmed. */
  deleted(keyId: string, { stored: _gone, ...row }: KeyRow, at: number): Change[] {
    return [put(this.keys, keyId, { ...row, deletedAt: at })];
  }

  /** Drops what is not remembered any longer; `alone` keeps others from a row meanwhile. */
  async sweep(at: number, alone: (keyId: string, task: () => Promise<void>) => Promise<void>): Promise<void> {
    for await (const keyId of this.keys.keys()) {
      const forgettable = (row: KeyRow | undefined): row is KeyRow =>
        row !== undefined && row.stored === undefined && (row.deletedAt ?? row.expiresAt) + REMEMBERED_MS < at;
      const candidate = await this.get(keyId).catch(() => undefined);
      if (!forgettable(candidate)) continue;
      await alone(keyId, async () => {
        const row = await this.get(keyId);
        if (!forgettable(row)) return;
        const request = requestName(row.owner, row.requestId);
        // A later registration may have taken over the request id.
        const takenOver = (await this.#requests.get(request)) !== keyId;
        const changes = [remove(this.keys, keyId), ...(takenOver ? [] : [remove(this.#requests, request)])];
        await commit(this.#store, changes);
      });
    }
  }
}

/** Identities have no space in them. */
function requestName(owner: string, requestId: string): string {
  return `${owner} ${requestId}`;
}
