// What each owner holds at a storage server: open registrations, objects, their bytes. It is kept in memory and counted anew at each start,
// so that a limit costs a call nothing and no count can drift from what is stored.
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { refusal } from "../communications/refusal.ts";

/** For one owner. */
export interface HoldingLimits {
  /** Registrations that are neither filled nor over. */
  readonly registrations: number;
  readonly objects: number;
  readonly bytes: number;
}

interface Held {
  /** End by object id, the one that ends first at the front: all registrations live equally long. */
  readonly registrations: Map<string, number>;
  /** Bytes by object id. */
  readonly objects: Map<string, number>;
  bytes: number;
}

export class Holdings {
  readonly #limits: HoldingLimits;
  readonly #now: () => Date;
  readonly #owners = new Map<string, Held>();

  constructor({ limits, now }: { limits: HoldingLimits; now: () => Date }) {
    this.#limits = limits;
    this.#now = now;
  }

  /** Takes over what is registered already, in any order. */
  recall(registered: { owner: string; id: string; expiresAt: number }[]): void {
    for (const { owner, id, expiresAt } of registered.toSorted((left, right) => left.expiresAt - right.expiresAt))
      this.#of(owner).registrations.set(id, expiresAt);
  }

  /** Before the registration is written. @throws ConnectError QUOTA_EXCEEDED */
  register(owner: string, id: string, expiresAt: number): void {
    const { registrations } = this.#of(owner);
    const at = this.#now().getTime();
    for (const [first, end] of registrations) {
      if (end > at) break;
      registrations.delete(first);
    }
    if (registrations.size >= this.#limits.registrations) throw exceeded("registrations");
    registrations.set(id, expiresAt);
  }

  /** The registration is filled or deleted, or was not written after all. */
  endRegistration(owner: string, id: string): void {
    this.#owners.get(owner)?.registrations.delete(id);
  }

  /** Before the object is written; again for the same one counts it once. @throws ConnectError QUOTA_EXCEEDED */
  hold(owner: string, id: string, bytes: number): void {
    const held = this.#of(owner);
    const present = held.objects.get(id);
    if (present === bytes) return;
    if (present === undefined && held.objects.size >= this.#limits.objects) throw exceeded("objects");
    if (held.bytes - (present ?? 0) + bytes > this.#limits.bytes) throw exceeded("bytes");
    this.recallObject(owner, id, bytes);
  }

  /** Counts what is stored already, whatever the limits of now. */
  recallObject(owner: string, id: string, bytes: number): void {
    const held = this.#of(owner);
    held.bytes += bytes - (held.objects.get(id) ?? 0);
    held.objects.set(id, bytes);
  }

  /** The object is gone, or was not written after all. */
  release(owner: string, id: string): void {
    const held = this.#owners.get(owner);
    if (held === undefined) return;
    held.bytes -= held.objects.get(id) ?? 0;
    held.objects.delete(id);
  }

  #of(owner: string): Held {
    let held = this.#owners.get(owner);
    if (held === undefined) {
      held = { registrations: new Map(), objects: new Map(), bytes: 0 };
      this.#owners.set(owner, held);
    }
    return held;
  }
}

function exceeded(what: string) {
  return refusal(ErrorReason.QUOTA_EXCEEDED, what);
}
