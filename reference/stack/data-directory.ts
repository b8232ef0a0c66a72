// Where a deployment keeps everything: its PKI, its registry and one folder for each entity. One process at a time uses it.
import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Level, type OpenOptions } from "level";
import { makeDirectory, PRIVATE_FILE, PUBLIC_FILE, readIfPresent, writeDurably } from "../../certs/durable-file.ts";
import { isStorageFailure } from "../communications/fault.ts";
import { checkClosed, stateClosed, withdrawClosed } from "../store/closing-statement.ts";
import { checkDatabase, DatabaseDamage } from "../store/leveldb-check.ts";
import { MendedLevel } from "../store/mended-level.ts";

/** A data directory that cannot be used; the message says why and how to mend it. */
export class DataDirectoryError extends Error {
  override name = "DataDirectoryError";
}

/** Of the files in a data directory. Whoever changes them so that former versions misread them counts it up. */
const dataFormat = 2;

/** What may be there before the first start: the PKI, made by `x1410 certs`, and what a first start that was killed has left. */
const beforeFormat = new Set(["pki", "lock", ".gitignore"]);

/** How long entities of a deployment that was killed may take to end. */
const lockTimeoutMs = 15_000;

export class DataDirectory {
  readonly path: string;
  readonly #lock: Level<string, string>;
  /** Whether there was no such directory before. */
  readonly #isNew: boolean;

  private constructor(path: string, lock: Level<string, string>, isNew: boolean) {
    this.path = path;
    this.#lock = lock;
    this.#isNew = isNew;
  }

  /**
   * Opens or creates the directory, for this process alone. The operating system ends the lock with the process, however that ends.
   * @throws DataDirectoryError
   */
  static async open(path: string): Promise<DataDirectory> {
    const directory = resolve(path);
    if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() === false)
      throw new DataDirectoryError(`${directory} is a file, not a directory; name another with --data`);
    const { isNew, present } = tried(directory, () => {
      const made = makeDirectory(directory);
      return { isNew: made !== undefined, present: readdirSync(directory) };
    });
    checkFormat(directory, present);
    const lock = await takeLock(directory);
    try {
      tried(directory, () => {
        // Private keys lie here: wherever a repository surrounds the directory, nothing of it gets into that.
        if (!present.includes("format.json")) writeDurably(join(directory, ".gitignore"), "*\n", PUBLIC_FILE);
        writeDurably(join(directory, "format.json"), `${dataFormat}\n`, PRIVATE_FILE);
      });
    } catch (cause) {
      await lock.close();
      throw cause;
    }
    return new DataDirectory(directory, lock, isNew);
  }

  get pki(): string {
    return join(this.path, "pki");
  }

  get network(): string {
    return join(this.path, "network.json");
  }

  /** Access lists, where an operator has written any. */
  get access(): string {
    return join(this.path, "access.yaml");
  }

  entity(name: string): string {
    const path = join(this.path, name);
    tried(path, () => makeDirectory(path));
    return path;
  }

  async release(): Promise<void> {
    await this.#lock.close();
  }

  /** After a start that failed: releases the directory, and takes it away where it was made for that start. */
  async abandon(): Promise<void> {
    await this.release();
    if (this.#isNew) rmSync(this.path, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Of LevelDB, where its own do not fit. */
export type DatabaseSettings = Pick<OpenOptions, "writeBufferSize" | "maxFileSize">;

export interface OpenDatabase {
  readonly db: Level<string, string>;
  close(): Promise<void>;
}

/**
 * Opens the database of an entity, checked as a whole or, without `contents`, in a time that does not grow with it; it goes on after failed
 * writes, unless it is `mendedByOwner`: then it is a plain Level. Where the entity's former process is still about to end, waits for it.
 * @throws DataDirectoryError where it is in use or damaged; what is damaged is left as it is
 */
export async function openDatabase(
  directory: string,
  {
    contents = true,
    mendedByOwner = false,
    ...settings
  }: { readonly contents?: boolean; readonly mendedByOwner?: boolean } & DatabaseSettings = {},
): Promise<OpenDatabase> {
  const path = join(directory, "db");
  // A lock of its own, since the database is looked at before LevelDB locks it, and may change it.
  const lock = await takeLock(directory, lockTimeoutMs);
  let db: Level<string, string>;
  try {
    await checkDatabase(path, { contents, closed: await checkClosed(directory) });
    await withdrawClosed(directory);
    // Not before: whoever makes a Level opens it.
    db = mendedByOwner ? new Level<string, string>(path, settings) : new MendedLevel(path, settings);
    await db.open();
  } catch (cause) {
    await lock.close();
    throw new DataDirectoryError(
      `the database ${path} does not open (${messageOf(cause)}); restore it from a copy, or name another directory with --data`,
    );
  }
  return {
    db,
    async close() {
      await db.close();
      await stateIfWhole(directory, path);
      await lock.close();
    },
  };
}

/** After a write that failed, and on a full disk, it is left as after a crash. */
async function stateIfWhole(directory: string, path: string): Promise<void> {
  try {
    await checkDatabase(path, { contents: false, closed: true });
    await stateClosed(directory);
  } catch (cause) {
    if (!(cause instanceof DatabaseDamage) && !isStorageFailure(cause)) throw cause;
  }
}

function checkFormat(directory: string, present: readonly string[]): void {
  const path = join(directory, "format.json");
  const format = tried(path, () => readIfPresent(path))
    ?.toString()
    .trim();
  if (format === undefined) {
    const foreign = present.find((name) => !beforeFormat.has(name));
    if (foreign !== undefined)
      throw new DataDirectoryError(
        `${directory} is no data directory (it holds ${foreign} but no format.json); name an empty or a new one with --data`,
      );
  } else if (!/^\d+$/.test(format)) {
    throw new DataDirectoryError(
      `${path} is damaged; if this version wrote the directory, put ${dataFormat} there, or name another with --data`,
    );
  } else if (Number(format) !== dataFormat) {
    throw new DataDirectoryError(
      `${directory} has format ${format}, this version reads format ${dataFormat}; run the version that wrote it, or name another with --data`,
    );
  }
}

/** A database without entries: the one kind of lock in reach that ends with its process and cannot be left behind. */
async function takeLock(directory: string, timeoutMs = 0): Promise<Level<string, string>> {
  const path = join(directory, "lock");
  for (const until = Date.now() + timeoutMs; ; await delay(50)) {
    const lock = new Level<string, string>(path);
    try {
      await lock.open();
      writeDurably(join(path, "holder"), `${process.pid}\n`, PRIVATE_FILE);
      return lock;
    } catch (cause) {
      await lock.close();
      if ((cause as { cause?: { code?: string } }).cause?.code !== "LEVEL_LOCKED")
        throw new DataDirectoryError(
          `cannot lock ${directory} (${messageOf(cause)}); remove its folder lock, which holds no data, or name another directory with --data`,
        );
      if (Date.now() >= until)
        throw new DataDirectoryError(
          `${directory} is in use by process ${holder(path)}; stop it, or name another with --data`,
        );
    }
  }
}

function holder(path: string): string {
  try {
    return readFileSync(join(path, "holder"), "utf8").trim();
  } catch {
    return "of unknown number";
  }
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // `level` puts the telling message behind a general one.
  const general = (error as { code?: string }).code?.startsWith("LEVEL_") && error.cause instanceof Error;
  return general ? (error.cause as Error).message : error.message;
}

function tried<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    throw new DataDirectoryError(`cannot use ${path}: ${messageOf(cause)}; name another with --data`);
  }
}
