// A lost answer costs nothing: identical signed bytes from the same identity get the first answer again, with no second effect; the same
// nonce under other bytes is refused. Kept durably for as long as the bytes would be accepted.
import type { AbstractSublevel } from "abstract-level";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { refusal } from "../communications/refusal.ts";

type Format = string | Buffer | Uint8Array;
/** A sublevel with string keys and binary values ("view" or "buffer"), for this store alone. */
export type AnswerLevel = AbstractSublevel<unknown, Format, string, Uint8Array>;

export interface SignedAnswerKey {
  readonly identity: string;
  /** 16 bytes. */
  readonly nonce: Uint8Array;
  /** SHA-256 of the signed payload. */
  readonly payloadSha256: Uint8Array;
  readonly issuedAt: Date;
}

export interface RequestAnswerKey {
  readonly identity: string;
  readonly requestId: Uint8Array;
  /** SHA-256 of what the request says besides its id. */
  readonly requestSha256: Uint8Array;
  /** The answer is given again until then at least. */
  readonly keepUntil: Date;
}

/** Operations that record an answer; put into the batch of the effect, answer and effect are durable together or not at all. */
export interface AnswerWrite {
  readonly type: "put";
  readonly key: string;
  readonly value: Uint8Array;
  readonly keyEncoding: "utf8";
  readonly valueEncoding: "view";
  /** Fits a batch of any database above the sublevel. */
  readonly sublevel: AbstractSublevel<never, Format, string, Uint8Array>;
}

/**
 * Does the work and answers its serialised response. May commit `write(response)` in its own synced batch, on the same database; otherwise the
 * store writes the answer afterwards, and the work must bear being done twice, for a crash may come in between.
 */
export type Produce = (write: (answer: Uint8Array) => AnswerWrite[]) => Promise<Uint8Array>;

interface Entry {
  /** Kind, identity and nonce or request id. */
  readonly key: string;
  readonly digest: Uint8Array;
  readonly keepUntil: number;
  readonly otherBytes: ErrorReason;
}

/** WINDOW_MS and twice SKEW_MS of signed-request.ts: a nonce outlives every instant at which its message could be accepted. */
const KEPT_MS = 300_000 + 2 * 60_000;
const SWEEP_EVERY_MS = 10_000;
const DIGEST_BYTES = 32;
const durable: { keyEncoding: "utf8"; valueEncoding: "view"; sync: boolean } = {
  keyEncoding: "utf8",
  valueEncoding: "view",
  sync: true,
};

export class AnswerStore {
  readonly #level: AnswerLevel;
  readonly #now: () => Date;
  /** Duplicates that arrive while the first is at work wait for its answer. */
  readonly #atWork = new Map<string, { digest: Uint8Array; answer: Promise<Uint8Array> }>();
  #sweptAt = 0;

  constructor(level: AnswerLevel, now: () => Date) {
    this.#level = level;
    this.#now = now;
  }

  /**
   * The first answer to these signed bytes: kept, being produced, or produced now. A failure is not kept.
   * @throws ConnectError NONCE_REUSED where the identity used the nonce under other bytes, and what `produce` throws
   */
  once({ identity, nonce, payloadSha256, issuedAt }: SignedAnswerKey, produce: Produce): Promise<Uint8Array> {
    const entry: Entry = {
      key: `n!${identity}!${Buffer.from(nonce).toString("hex")}`,
      digest: payloadSha256,
      keepUntil: issuedAt.getTime() + KEPT_MS,
      otherBytes: ErrorReason.NONCE_REUSED,
    };
    return this.#once(entry, produce);
  }

  /**
   * The same for requests that carry an id instead of a signature.
   * @throws ConnectError REQUEST_ID_REUSED where the identity used the id with other contents, and what `produce` throws
   */
  onceForRequestId(request: RequestAnswerKey, produce: Produce): Promise<Uint8Array> {
    const entry: Entry = {
      key: `r!${request.identity}!${Buffer.from(request.requestId).toString("hex")}`,
      digest: request.requestSha256,
      keepUntil: request.keepUntil.getTime(),
      otherBytes: ErrorReason.REQUEST_ID_REUSED,
    };
    return this.#once(entry, produce);
  }

  async #once(entry: Entry, produce: Produce): Promise<Uint8Array> {
    if (entry.digest.length !== DIGEST_BYTES) throw new TypeError("a SHA-256 digest has 32 bytes");
    const running = this.#atWork.get(entry.key);
    if (running !== undefined) {
      assertSame(running.digest, entry);
      return running.answer;
    }
    const answer = this.#lookUpOrProduce(entry, produce);
    this.#atWork.set(entry.key, { digest: entry.digest, answer });
    try {
      return await answer;
    } finally {
      this.#atWork.delete(entry.key);
    }
  }

  async #lookUpOrProduce(entry: Entry, produce: Produce): Promise<Uint8Array> {
    await this.#sweep();
    const kept = await this.#level.get(entry.key, { keyEncoding: "utf8", valueEncoding: "view" });
    if (kept !== undefined) {
      assertSame(kept.subarray(0, DIGEST_BYTES), entry);
      return kept.subarray(DIGEST_BYTES);
    }
    let written = false;
    const answer = await produce((bytes) => {
      written = true;
      return this.#writes(entry, bytes);
    });
    if (!written) await this.#level.batch(this.#writes(entry, answer), durable);
    return answer;
  }

  #writes({ key, digest, keepUntil }: Entry, answer: Uint8Array): AnswerWrite[] {
    const sublevel = this.#level as AnswerWrite["sublevel"];
    const place = { type: "put", sublevel, keyEncoding: "utf8", valueEncoding: "view" } as const;
    return [
      { ...place, key, value: Buffer.concat([digest, answer]) },
      { ...place, key: expiryKey(keepUntil, key), value: new Uint8Array() },
    ];
  }

  /** Forgets what nobody can ask for any more. */
  async #sweep(): Promise<void> {
    const now = this.#now().getTime();
    if (now - this.#sweptAt < SWEEP_EVERY_MS) return;
    this.#sweptAt = now;
    const over: { type: "del"; key: string }[] = [];
    for await (const key of this.#level.keys({ gte: "e!", lt: expiryKey(now, ""), keyEncoding: "utf8" })) {
      over.push({ type: "del", key }, { type: "del", key: key.slice(expiryKey(0, "").length) });
    }
    if (over.length > 0) await this.#level.batch(over, { keyEncoding: "utf8" });
  }
}

/** Sorts by time: 15 digits reach beyond the year 30000. */
function expiryKey(at: number, key: string): string {
  return `e!${String(Math.max(0, Math.ceil(at))).padStart(15, "0")}!${key}`;
}

function assertSame(digest: Uint8Array, entry: Entry): void {
  if (Buffer.compare(digest, entry.digest) !== 0) throw refusal(entry.otherBytes);
}
