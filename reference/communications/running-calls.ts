// The calls under way at one door (clause 7.2.5). Whoever may not begin a call may not go on with one: when a certificate has ended, lists
// or access lists are new, every call is judged as if it came now, and ends with what it would then be refused with.
import type { ConnectionTable } from "./connection-table.ts";
import { type ArrivingCall, admitCall, type Guard } from "./guard.ts";

export interface RunningCall {
  /** What the guards were asked about; undefined before that. */
  readonly arrival: ArrivingCall | undefined;
  /** Ends it with an error, for the implementation and for the caller. */
  refuse(cause: unknown): void;
}

export class RunningCalls<Call extends RunningCall> extends Set<Call> {
  readonly #connections: () => ConnectionTable;
  readonly #changing: readonly Guard[];
  readonly #unsubscribe: (() => void)[] = [];

  constructor(guards: readonly Guard[], connections: () => ConnectionTable) {
    super();
    this.#connections = connections;
    this.#changing = guards.filter(({ onChange }) => onChange !== undefined);
    for (const { onChange } of this.#changing) {
      const stop = onChange?.(() => this.judgeAll());
      if (stop !== undefined) this.#unsubscribe.push(stop);
    }
  }

  judgeAll(): void {
    for (const call of this) this.judge(call);
  }

  /** Ends the call where its connection stands no more, or a guard that may have changed does not admit it. */
  judge(call: Call): void {
    const { arrival } = call;
    if (arrival === undefined) return;
    try {
      this.#connections().peerOf(arrival.peer.connectionId);
      admitCall(this.#changing, arrival)?.catch((cause: unknown) => call.refuse(cause));
    } catch (cause) {
      call.refuse(cause);
    }
  }

  /** Guards may outlive the door. */
  unsubscribe(): void {
    for (const stop of this.#unsubscribe.splice(0)) stop();
  }
}
