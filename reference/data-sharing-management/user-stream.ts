// Streams that users open (U5, clauses 6.2.1 and 7.3.1; F3.9.1, F3.12): the session behind them, how many an identity may hold, and that
// each begins by saying where it stands.
import type { HandlerContext } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { refusal } from "../communications/refusal.ts";
import type { LogEvent } from "./event-log.ts";
import type { Right, SessionGate } from "./session-gate.ts";

/** Streams of one kind that an identity may hold open. */
const STREAMS_PER_IDENTITY = 16;

export interface UserStreamsOptions {
  readonly gate: SessionGate;
  /** The right that the streams need, where they need one. */
  readonly right?: Right;
  readonly streamsPerIdentity?: number;
}

/** What one stream carries to its user. */
export interface StreamContents<M> {
  /**
   * The position up to which there is history.
   * @throws ConnectError POSITION_EXPIRED
   */
  readonly stand: (identity: string) => Promise<bigint>;
  readonly events: (identity: string, signal: AbortSignal) => AsyncIterable<LogEvent>;
  /** The message for an event, none for an event that the subscriber did not ask for; without an event, the first message. */
  readonly message: (position: bigint, value: Uint8Array | undefined) => M | undefined;
}

export class UserStreams {
  readonly #options: UserStreamsOptions;
  readonly #open = new Map<string, number>();

  constructor(options: UserStreamsOptions) {
    this.#options = options;
  }

  /** @throws ConnectError what the gate throws, SUBSCRIPTION_LIMIT, POSITION_EXPIRED */
  async *stream<M>(context: HandlerContext, contents: StreamContents<M>): AsyncGenerator<M> {
    const { gate, right } = this.#options;
    const { signal } = context;
    const { identity } = await gate.require(context, right);
    const leave = this.#enter(identity, signal);
    try {
      const standing = contents.message(await contents.stand(identity), undefined);
      if (standing !== undefined) yield standing;
      for await (const { position, value } of contents.events(identity, signal)) {
        const message = contents.message(position, value);
        if (message === undefined) continue;
        // Streams stay open for long: nothing is told any more once the session, the account or the right has gone.
        await gate.require(context, right);
        yield message;
      }
    } finally {
      leave();
    }
  }

  /** Counts one stream more, until it is left or its call ends, whichever is first. */
  #enter(identity: string, signal: AbortSignal): () => void {
    const open = this.#open.get(identity) ?? 0;
    if (open >= (this.#options.streamsPerIdentity ?? STREAMS_PER_IDENTITY)) {
      throw refusal(ErrorReason.SUBSCRIPTION_LIMIT);
    }
    this.#open.set(identity, open + 1);
    let entered = true;
    const leave = () => {
      if (!entered) return;
      entered = false;
      signal.removeEventListener("abort", leave);
      const left = (this.#open.get(identity) ?? 1) - 1;
      if (left === 0) this.#open.delete(identity);
      else this.#open.set(identity, left);
    };
    signal.addEventListener("abort", leave);
    if (signal.aborted) leave();
    return leave;
  }
}
