// How long somebody waits for a block to become final: until it is, the time is up, the caller gives up, or the engine closes.
import type { HeightWatch } from "./height-watch.ts";

const TIMEOUT_MS = 10_000;

export class FinalityWait {
  readonly #final: HeightWatch;
  readonly #timeoutMs: number;
  readonly #waits = new Set<AbortController>();
  #closed = false;

  constructor(final: HeightWatch, timeoutMs = TIMEOUT_MS) {
    this.#final = final;
    this.#timeoutMs = timeoutMs;
  }

  /** Whether more than this height becomes final before. */
  async beyond(height: bigint, signal?: AbortSignal): Promise<boolean> {
    if (this.#final.height > height) return true;
    const limit = new AbortController();
    const giveUp = (): void => limit.abort();
    const timer = setTimeout(giveUp, this.#timeoutMs);
    signal?.addEventListener("abort", giveUp, { once: true });
    this.#waits.add(limit);
    if (signal?.aborted || this.#closed) giveUp();
    try {
      await this.#final.beyond(height, limit.signal);
      return true;
    } catch {
      return false;
    } finally {
      this.#waits.delete(limit);
      signal?.removeEventListener("abort", giveUp);
      clearTimeout(timer);
    }
  }

  /** Ends all waiting, now and later. */
  close(): void {
    this.#closed = true;
    for (const wait of this.#waits) wait.abort();
  }
}
