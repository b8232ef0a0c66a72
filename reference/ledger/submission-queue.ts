// What was submitted and is in no block yet, in order of arrival.
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { refusal } from "../communications/refusal.ts";
import type { SubmittedTransaction } from "./block-verification.ts";
import type { Placement } from "./chain.ts";
import { sha256 } from "./merkle.ts";

export interface Entry {
  readonly key: string;
  readonly candidate: SubmittedTransaction;
  readonly placed: PromiseWithResolvers<Placement>;
  /** Submissions that wait for it; withdrawn from the queue when the last one gives up. */
  waiting: number;
}

const MAX_BLOCK_TRANSACTIONS = 4096;
/** A block is one message between nodes and stays well below their limit for one. */
const MAX_BLOCK_BYTES = 2 * 1024 * 1024;
const MAX_QUEUED = 65_536;

export class SubmissionQueue {
  /** By the hash of all bytes, in order of arrival: another signature around the same payload is somebody else's, and may be worth nothing. */
  readonly #queued = new Map<string, Entry>();
  /** Those in the block that is being written. */
  readonly #writing = new Map<string, Entry>();
  readonly #max: number;

  constructor(max = MAX_QUEUED) {
    this.#max = max;
  }

  /** Without those that are being written. */
  get size(): number {
    return this.#queued.size;
  }

  /** Before anything is queued: a submission of which a part was would be recorded in part, and nobody would wait for that. */
  assertRoom(candidates: readonly SubmittedTransaction[]): void {
    const room = this.#max - this.#queued.size;
    if (candidates.length <= room) return;
    const keys = new Set(candidates.map(keyOf));
    const added = [...keys].filter((key) => this.#known(key) === undefined).length;
    if (added <= room) return;
    // Of what others have submitted already, somebody else learns what becomes of it.
    throw refusal(added === keys.size ? ErrorReason.LEDGER_UNAVAILABLE : ErrorReason.OUTCOME_UNKNOWN, "queue");
  }

  add(candidate: SubmittedTransaction): Entry {
    const key = keyOf(candidate);
    const known = this.#known(key);
    if (known !== undefined) {
      known.waiting += 1;
      return known;
    }
    const entry: Entry = { key, candidate, placed: Promise.withResolvers(), waiting: 1 };
    // Whoever waits handles a failure; one who gave up must not turn it into an unhandled rejection.
    entry.placed.promise.catch(() => undefined);
    this.#queued.set(key, entry);
    return entry;
  }

  /** Takes back what is still queued and nobody else waits for; where all of it could be taken back, nothing was recorded. */
  giveUp(entries: readonly (Entry | undefined)[]): Error {
    let all = true;
    for (const entry of entries) {
      if (entry === undefined) continue;
      entry.waiting -= 1;
      const { key } = entry;
      if (entry.waiting === 0 && this.#queued.get(key) === entry) this.#queued.delete(key);
      else all = false;
    }
    return refusal(all ? ErrorReason.LEDGER_UNAVAILABLE : ErrorReason.OUTCOME_UNKNOWN, "aborted");
  }

  refuse(why: string): void {
    for (const { placed } of this.#queued.values()) placed.reject(refusal(ErrorReason.LEDGER_UNAVAILABLE, why));
    this.#queued.clear();
  }

  /** What goes into the next block; being written until `written` is called. */
  take(): readonly Entry[] {
    let bytes = 0;
    for (const [key, entry] of this.#queued) {
      bytes += entry.candidate.bytes.length;
      if (this.#writing.size > 0 && bytes > MAX_BLOCK_BYTES) break;
      this.#queued.delete(key);
      this.#writing.set(key, entry);
      if (this.#writing.size >= MAX_BLOCK_TRANSACTIONS) break;
    }
    return [...this.#writing.values()];
  }

  written(): void {
    this.#writing.clear();
  }

  #known(key: string): Entry | undefined {
    return this.#writing.get(key) ?? this.#queued.get(key);
  }
}

function keyOf({ bytes }: SubmittedTransaction): string {
  return Buffer.from(sha256(bytes)).toString("hex");
}
