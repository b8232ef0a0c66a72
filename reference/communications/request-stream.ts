// The messages of a request stream, one read at a time: nothing is taken from the wire before the implementation asks for it.
import type { Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

interface Waiter {
  resolve(result: IteratorResult<Message, undefined>): void;
  reject(reason: unknown): void;
}

export class RequestStream implements AsyncIterableIterator<Message, undefined> {
  readonly #read: () => void;
  readonly #idleMs: number;
  readonly #waiting: Waiter[] = [];
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #failure: unknown;

  /** `read` orders one message, to be delivered by `push`. */
  constructor(read: () => void, idleMs: number) {
    this.#read = read;
    this.#idleMs = idleMs;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Message, undefined>> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#closed) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      if (this.#waiting.length === 1) this.#order();
    });
  }

  /** The implementation has seen enough. */
  return(): Promise<IteratorResult<Message, undefined>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  push(message: Message): void {
    clearTimeout(this.#timer);
    this.#waiting.shift()?.resolve({ done: false, value: message });
    if (this.#waiting.length > 0) this.#order();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#closed = true;
    for (const { resolve } of this.#waiting.splice(0)) resolve({ done: true, value: undefined });
  }

  fail(reason: unknown): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#closed = true;
    this.#failure = reason;
    for (const { reject } of this.#waiting.splice(0)) reject(reason);
  }

  #order(): void {
    this.#timer = setTimeout(() => {
      this.fail(new ConnectError("no further request message in time", Code.DeadlineExceeded));
    }, this.#idleMs);
    this.#timer.unref();
    this.#read();
  }
}
