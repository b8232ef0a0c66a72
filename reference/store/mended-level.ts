// A database that goes on after a write has failed. LevelDB leaves a piece of that write in its log and appends what comes next behind it, where a
// restart finds neither. So nothing more goes into that log: the next write opens the database anew first, as soon as there is room for that.
// Until then writes fail, and reads go on.
import { Level } from "level";
import { isStorageFailure } from "../communications/fault.ts";
import type { Store } from "./durable-batch.ts";
import { assertRoomToReopen, REOPEN_RETRY_MS } from "./room.ts";

export class MendedLevel extends Level<string, string> {
  /** Every part of it, whatever is below stands behind it: closed with it, they are to be opened one by one. */
  readonly #parts: Store[] = [];
  /** Set where a write has failed. */
  #broken = false;
  /** Closed to be opened anew, and not open yet. */
  #away = false;
  #mending: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #ended = false;

  override sublevel(name: string | string[], options: object = {}): never {
    return this.#followed(super.sublevel(name, options) as unknown as Store) as never;
  }

  override batch(...given: readonly unknown[]): never {
    return this.#write(() => super.batch(given[0] as never, given[1] as object)) as never;
  }

  override put(key: string, value: string, options: object = {}): Promise<void> {
    return this.#write(() => super.put(key, value, options));
  }

  override del(key: string, options: object = {}): Promise<void> {
    return this.#write(() => super.del(key, options));
  }

  override async close(): Promise<void> {
    this.#ended = true;
    clearTimeout(this.#retry);
    await this.#mending?.catch(() => undefined);
    await super.close();
  }

  #followed(part: Store): Store {
    this.#parts.push(part);
    const sublevel = part.sublevel.bind(part);
    part.sublevel = (name: string | string[], options: object = {}): never =>
      this.#followed(sublevel(name, options) as unknown as Store) as never;
    return part;
  }

  async #write(write: () => Promise<void>): Promise<void> {
    if (this.#broken) await this.#mended(() => assertRoomToReopen(this.location));
    try {
      await write();
    } catch (cause) {
      this.#broken ||= isStorageFailure(cause);
      throw cause;
    }
    // It lies behind the piece of another, which failed meanwhile: nobody may rely on it.
    if (this.#broken) throw Object.assign(new Error("another write has failed"), { code: "EIO" });
  }

  #mended(first: () => Promise<void>): Promise<void> {
    this.#mending ??= this.#mend(first).finally(() => {
      this.#mending = undefined;
    });
    return this.#mending;
  }

  async #mend(first: () => Promise<void>): Promise<void> {
    // This attempt stands for the one that was to come.
    clearTimeout(this.#retry);
    this.#assertNotEnded();
    try {
      await first();
      this.#assertNotEnded();
      this.#away = true;
      await super.close();
      await this.open();
      for (const part of this.#parts) await part.open();
      this.#away = false;
      this.#broken = false;
    } catch (cause) {
      // Reads need it too, and come back by themselves.
      if (this.#away && !this.#ended) {
        this.#retry = setTimeout(() => void this.#mended(async () => {}).catch(() => {}), REOPEN_RETRY_MS);
      }
      throw cause;
    }
  }

  /** What was closed stays so. */
  #assertNotEnded(): void {
    if (this.#ended) throw Object.assign(new Error("the database is closed"), { code: "LEVEL_DATABASE_NOT_OPEN" });
  }
}
