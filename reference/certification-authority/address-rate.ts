// How often an address may ask for what costs a signature. Whoever asks is not known, so that nothing else tells one from another.
import { isIPv6 } from "node:net";

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
    const source = sourceOf(address);
    const count = (this.#counts.get(source) ?? 0) + 1;
    this.#counts.set(source, count);
    return count <= this.#perSecond;
  }
}

/** A host has a whole /64 of IPv6 at its disposal (RFC 4291, 2.5.4), but one IPv4 address, also where that is written in IPv6. */
function sourceOf(address: string): string {
  if (!isIPv6(address) || address.startsWith("::ffff:")) return address.replace("::ffff:", "");
  const [head = "", tail] = (address.split("%")[0] ?? "").split("::");
  const front = head === "" ? [] : head.split(":");
  const back = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = new Array<string>(Math.max(0, 8 - front.length - back.length)).fill("0");
  return [...front, ...zeros, ...back].slice(0, 4).join(":");
}
