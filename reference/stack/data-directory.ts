// Where a deployment keeps everything: its PKI, its registry and one folder for each entity. One process at a time uses it.
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join, resolve } from "node:path";
import { Level } from "level";
import { makePrivateDirectory } from "../../certs/durable-file.ts";

/** A data directory that cannot be used; the message says why and how to mend it. */
export class DataDirectoryError extends Error {
  override name = "DataDirectoryError";
}

export class DataDirectory {
  readonly path: string;
  readonly #lock: string;

  private constructor(path: string) {
    this.path = path;
    this.#lock = join(path, "lock");
  }

  /**
   * Opens or creates the directory, for this process alone. A lock that a killed process left behind is taken over.
   * @throws DataDirectoryError
   */
  static open(path: string): DataDirectory {
    const directory = new DataDirectory(resolve(path));
    try {
      makePrivateDirectory(directory.path);
    } catch (cause) {
      throw new DataDirectoryError(`cannot use ${directory.path}: ${messageOf(cause)}; name another with --data`);
    }
    directory.#take();
    return directory;
  }

  get pki(): string {
    return join(this.path, "pki");
  }

  get network(): string {
    return join(this.path, "network.json");
  }

  entity(name: string): string {
    const path = join(this.path, name);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return path;
  }

  release(): void {
    rmSync(this.#lock, { force: true });
  }

  #take(): void {
    try {
      const file = openSync(this.#lock, "wx", 0o600);
      writeSync(file, `${process.pid}\n`);
      closeSync(file);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "EEXIST")
        throw new DataDirectoryError(`cannot use ${this.path}: ${messageOf(cause)}; name another with --data`);
      const holder = Number(readFileSync(this.#lock, "utf8"));
      if (isRunning(holder))
        throw new DataDirectoryError(
          `${this.path} is in use by process ${holder}; stop it, or name another with --data`,
        );
      rmSync(this.#lock, { force: true });
      this.#take();
    }
  }
}

/**
 * Opens the database of an entity.
 * @throws DataDirectoryError where it is in use or damaged; what is damaged is left as it is
 */
export async function openDatabase(directory: string): Promise<Level<string, string>> {
  const database = new Level<string, string>(join(directory, "db"));
  try {
    await database.open();
  } catch (cause) {
    const why = (cause as { cause?: { code?: string; message?: string } }).cause;
    if (why?.code === "LEVEL_LOCKED")
      throw new DataDirectoryError(`${directory} is in use by another process; stop it first`);
    throw new DataDirectoryError(
      `the database in ${directory} does not open (${why?.message ?? messageOf(cause)}); restore it from a copy, or name another directory with --data`,
    );
  }
  return database;
}

function isRunning(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM";
  }
}

function messageOf(cause: unknown): string {
  if (cause instanceof Error) return cause.message;
  return String(cause);
}
