// A height that only grows, and those who wait for it to grow.

interface Waiter {
  readonly above: bigint;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** The height will not grow any more: its owner has closed. */
export class HeightWatchClosed extends Error {
  override readonly name = "HeightWatchClosed";
}

export class HeightWatch {
  #height: bigint;
  readonly #waiters = new Set<Waiter>();
  #closed: HeightWatchClosed | undefined;

  constructor(height: bigint) {
    this.#height = height;
  }

  get height(): bigint {
    return this.#height;
  }

  /** Raises the height; a lower one changes nothing. */
  advance(height: bigint): void {
    if (height <= this.#height) return;
    this.#height = height;
    for (const waiter of this.#waiters) {
      if (height > waiter.above) waiter.resolve();
    }
  }

  /** Ends all waiting, now and later. */
  close(): void {
    this.#closed = new HeightWatchClosed("closed");
    for (const waiter of this.#waiters) waiter.reject(this.#closed);
  }

  /** Resolves once the height is above `height`. @throws the signal's reason where it aborts before; HeightWatchClosed */
  async beyond(height: bigint, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#height > height) return;
    if (this.#closed !== undefined) throw this.#closed;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { above: height, resolve, reject };
    const aborted = (): void => reject(signal.reason);
    this.#waiters.add(waiter);
    signal.addEventListener("abort", aborted, { once: true });
    try {
      await promise;
    } finally {
      this.#waiters.delete(waiter);
      signal.removeEventListener("abort", aborted);
    }
  }
}
