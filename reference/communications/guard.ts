// What every call passes before an implementation sees it, the same under all three hostings (clause 7.2.5, AAC3).
import type { DescMethod, Message } from "@bufbuild/protobuf";
import type { Peer } from "./peer.ts";

/** A call at the door. */
export interface ArrivingCall {
  readonly method: DescMethod;
  readonly peer: Peer;
  /** Request metadata; built when first read. */
  readonly requestHeader: Headers;
}

/**
 * Refuses by throwing a ConnectError. `admit` runs when the metadata is in and, on the wire, before any message is parsed; `message` runs
 * for each request message before the implementation gets it.
 */
export interface Guard {
  readonly admit?: (call: ArrivingCall) => undefined | Promise<void>;
  readonly message?: (method: DescMethod, message: Message) => void;
  /**
   * Where `admit` may come to refuse what it has admitted: `listener` is called when it is to be asked again about the calls under way.
   * Returns how to stop that.
   */
  readonly onChange?: (listener: () => void) => () => void;
}

/** Runs the guards in order; answers a promise only where a guard did, so that synchronous guards cost no turn of the event loop. */
export function admitCall(guards: readonly Guard[], call: ArrivingCall, from = 0): undefined | Promise<void> {
  for (let index = from; index < guards.length; index++) {
    const pending = guards[index]?.admit?.(call);
    if (pending !== undefined) return pending.then(() => admitCall(guards, call, index + 1));
  }
  return undefined;
}

export function checkMessage(guards: readonly Guard[], method: DescMethod, message: Message): void {
  for (const guard of guards) guard.message?.(method, message);
}
