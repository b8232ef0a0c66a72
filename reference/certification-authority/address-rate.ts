// How often an address may ask for what costs a signature. Whoever asks is not known, so that nothing else tells one from another.
import { originOf } from "../communications/address-origin.ts";

const WINDOW_MS = 1000;

export class AddressRate {
  readonly #perSecond: number;
  /** Milliseconds that only go forward. */
  readonly #now: () => number;
  #windowStart = Number.NEGATIVE_INFINITY;
  /** Of this second alone, so that it cannot grow for long. */
  readonly #counts = new Map<string, number>();

  constructor(perSecond: number, now: () => number) {
    this.#perSecond = perSecond;
    this.#now = now;
  }

  /** Counts one more request, and says whether it is within the rate. */
  admits(address: string): boolean {
    const now = this.#now();
    if (now - this.#windowStart >= WINDOW_MS) {
      this.#windowStart = now;
      this.#counts.clear();
    }
    const origin = originOf(address);
    const count = (this.#counts.get(origin) ?? 0) + 1;
    this.#counts.set(origin, count);
    return count <= this.#perSecond;
  }
}
