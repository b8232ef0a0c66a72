// Streams that an entity sends to a user who opened them (U5).
import { Code, ConnectError } from "@connectrpc/connect";
import { Deviation } from "../procedures/procedure.ts";

/**
 * The first message that `pick` makes something of; a deviation where the stream ends, or `timeoutMs` passes, without it. The stream is
 * cancelled afterwards: leaving a loop over it does not end the call.
 */
export async function firstIn<M, T>(
  openStream: (signal: AbortSignal) => AsyncIterable<M>,
  timeoutMs: number,
  what: string,
  pick: (message: M) => T | undefined,
): Promise<T> {
  const cancellation = new AbortController();
  let open = false;
  try {
    for await (const message of openStream(cancellation.signal)) {
      open = true;
      const picked = pick(message);
      if (picked !== undefined) return picked;
    }
  } catch (cause) {
    // A stream that has sent something stands on a live connection: what does not come then is missing.
    if (open && cause instanceof ConnectError && cause.code === Code.DeadlineExceeded)
      throw new Deviation(`${what} within ${timeoutMs / 1000} s`);
    throw cause;
  } finally {
    cancellation.abort();
  }
  throw new Deviation(`${what} before the stream ends`);
}
