// One at a time for each key inside a process: no lost updates between reading a record and writing it back.

export class KeyedMutex {
  /** Settles when the last one in the queue of a key is done; idle keys take no memory. */
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs `task` once every earlier task of the same key has ended, well or not; answers what it answers. */
  async run<T>(key: string, task: () => Promise<T> | T): Promise<T> {
    const before = this.#tails.get(key);
    const turn = Promise.withResolvers<void>();
    this.#tails.set(key, turn.promise);
    try {
      await before;
      return await task();
    } finally {
      if (this.#tails.get(key) === turn.promise) this.#tails.delete(key);
      turn.resolve();
    }
  }
}
