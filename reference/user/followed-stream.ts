// Streams that a user opens to be notified (U5): followed over broken connections, restarts and ended sessions, so that nothing is lost.
// What was handed over is noted durably after the fact, so a crash repeats at most the last notification.
import { type CallOptions, Code, ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import type { ConnectedUser } from "./connected-user.ts";
import { BackOff, type Patience } from "./repetition.ts";
import type { StateDirectory } from "./state-directory.ts";

export interface FollowedStream<M extends { readonly position: bigint }, T> {
  readonly user: ConnectedUser;
  readonly state: StateDirectory;
  /** Under which the position is kept. */
  readonly name: string;
  readonly patience: Patience;
  /** Ends the stream. */
  readonly signal?: AbortSignal;
  readonly open: (afterPosition: bigint, options: CallOptions) => AsyncIterable<M>;
  /** What a message carries; nothing where it only says that the stream stands. */
  readonly content: (message: M) => T | undefined;
}

/**
 * Everything from the position kept on, first to last, until `signal` aborts. Where the position is no longer kept by the management, the
 * stream begins again with its snapshot.
 * @throws ConnectError where the management refuses for good, or stays away longer than patience lasts
 */
export async function* follow<M extends { readonly position: bigint }, T>(
  stream: FollowedStream<M, T>,
): AsyncGenerator<T, void> {
  const { user, state, name, patience, signal, open, content } = stream;
  const backOff = new BackOff(patience, signal);
  let position = positionOf(state, name);
  let renewed = false;
  for (;;) {
    try {
      const options = { ...user.sessionHeaders, ...(signal === undefined ? {} : { signal }) };
      for await (const message of open(position, options)) {
        backOff.reset();
        renewed = false;
        const value = content(message);
        if (value === undefined) continue;
        yield value;
        position = message.position;
        state.write(name, { position: position.toString() });
      }
      if (signal?.aborted === true) return;
      // A server that stops ends its streams in good order; it comes back.
      throw new ConnectError("the stream has ended", Code.Unavailable);
    } catch (cause) {
      if (signal?.aborted === true) return;
      if (reasonOf(cause) === ErrorReason.POSITION_EXPIRED && position > 0n) {
        position = 0n;
      } else if (reasonOf(cause) === ErrorReason.SESSION_INVALID && !renewed) {
        renewed = true;
        await user.renewSession();
      } else {
        await backOff.after(cause);
      }
    }
  }
}

function positionOf(state: StateDirectory, name: string): bigint {
  const { position } = state.read<{ position?: unknown }>(name) ?? {};
  return typeof position === "string" && /^\d+$/.test(position) ? BigInt(position) : 0n;
}
