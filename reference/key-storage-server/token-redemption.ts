// A token releases its key once (clause 7.3.2): the record of who redeemed it, on disk before the key leaves.
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import { refusal } from "../communications/refusal.ts";
import { commit, jsonTable, put, remove, type Store } from "../store/durable-batch.ts";

/**
 * A record outlives its token by this much: more than the clock skew for which token verification still takes the token, and more than a
 * clock that is set back a little.
 */
const RETENTION_MS = 10 * 60_000;
const SWEEP_BATCH = 1_000;

export interface Redemption {
  readonly issuer: string;
  readonly tokenId: string;
  readonly keyId: string;
  /** SHA-256 of the consumer's certificate, hexadecimal. */
  readonly fingerprint: string;
  /** Hexadecimal. */
  readonly requestId: string;
  /** Of the token. */
  readonly expiresAt: Date;
}

interface RedemptionRow {
  readonly keyId: string;
  readonly fingerprint: string;
  readonly requestId: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

export class TokenRedemptions {
  readonly #store: Store;
  readonly #now: () => Date;
  readonly #rows;
  readonly #mutex = new KeyedMutex();

  constructor({ store, now }: { store: Store; now: () => Date }) {
    this.#store = store;
    this.#now = now;
    this.#rows = jsonTable<RedemptionRow>(store, "redemptions");
  }

  /**
   * Records the redemption durably, or finds that it is the recorded one asked for again.
   * @throws ConnectError TOKEN_REDEEMED where the token was redeemed under another request id or certificate
   */
  redeem({ issuer, tokenId, keyId, fingerprint, requestId, expiresAt }: Redemption): Promise<void> {
    // Token ids are unique for one issuer only. An identity has no space in it.
    const name = `${issuer} ${tokenId}`;
    return this.#mutex.run(name, async () => {
      const recorded = await this.#rows.get(name);
      if (recorded === undefined) {
        const row: RedemptionRow = { keyId, fingerprint, requestId, expiresAt: expiresAt.getTime() };
        await commit(this.#store, [put(this.#rows, name, row)]);
        return;
      }
      const same = recorded.keyId === keyId && recorded.fingerprint === fingerprint && recorded.requestId === requestId;
      if (!same) throw refusal(ErrorReason.TOKEN_REDEEMED, tokenId);
    });
  }

  /** Forgets redemptions of tokens that nobody can redeem any more. */
  async sweep(): Promise<void> {
    const before = this.#now().getTime() - RETENTION_MS;
    const over: string[] = [];
    for await (const [name, { expiresAt }] of this.#rows.iterator()) if (expiresAt < before) over.push(name);
    while (over.length > 0) {
      const batch = over.splice(0, SWEEP_BATCH);
      await commit(
        this.#store,
        batch.map((name) => remove(this.#rows, name)),
      );
    }
  }
}
