// How long a stream waits for the other end on the exposure port: for the next request message, and for a response to be taken. What an
// implementation takes of that time is not counted.
import { Code, ConnectError } from "@connectrpc/connect";

/** Ends a request stream whose next message, once asked for, does not come within `ms`. */
export async function* timely<T>(messages: AsyncIterable<T>, ms: number, late: () => void): AsyncIterable<T> {
  const source = messages[Symbol.asyncIterator]();
  for (;;) {
    const overdue = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      overdue.reject(new ConnectError("no further request message in time", Code.DeadlineExceeded));
      late();
    }, ms);
    timer.unref();
    let next: IteratorResult<T>;
    try {
      next = await Promise.race([source.next(), overdue.promise]);
    } finally {
      clearTimeout(timer);
    }
    if (next.done === true) return;
    yield next.value;
  }
}

/** Calls `stalled` where the other end does not take a response within `ms`. */
export async function* taken<T>(messages: AsyncIterable<T>, ms: number, stalled: () => void): AsyncIterable<T> {
  for await (const message of messages) {
    const timer = setTimeout(stalled, ms);
    timer.unref();
    try {
      // The next one is asked for once this one is written.
      yield message;
    } finally {
      clearTimeout(timer);
    }
  }
}
