// What a user keeps between runs (U2): journals, positions, spooled ciphertext. Directories of mode 0700, files of mode 0600, each written
// so that a crash leaves the old content or the new.
import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { join, resolve } from "node:path";
import {
  makePrivateDirectory,
  PRIVATE_FILE,
  readIfPresent,
  syncDirectory,
  writeDurably,
} from "../../certs/durable-file.ts";

/** A state directory that cannot be used; the message says why and how to mend it. */
export class StateDirectoryError extends Error {
  override name = "StateDirectoryError";
}

/** Held by one process at a time. */
export interface Lock {
  release(): void;
}

export class StateDirectory {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Opens or creates it. @throws StateDirectoryError */
  static open(path: string): StateDirectory {
    const directory = new StateDirectory(resolve(path));
    guard(directory.path, () => {
      makePrivateDirectory(directory.path);
      if ((statSync(directory.path).mode & 0o077) !== 0)
        throw new StateDirectoryError(
          `${directory.path} is open to others; chmod 700 it, or name another with --state`,
        );
    });
    return directory;
  }

  directory(name: string): StateDirectory {
    return StateDirectory.open(join(this.path, name));
  }

  file(name: string): string {
    return join(this.path, name);
  }

  names(): string[] {
    return guard(this.path, () => readdirSync(this.path).sort());
  }

  has(name: string): boolean {
    return statSync(this.file(name), { throwIfNoEntry: false }) !== undefined;
  }

  /** What `write` wrote. @throws StateDirectoryError where the file is damaged */
  read<T>(name: string): T | undefined {
    const path = this.file(name);
    const content = guard(path, () => readIfPresent(path));
    if (content === undefined) return undefined;
    try {
      return JSON.parse(content.toString("utf8")) as T;
    } catch {
      throw new StateDirectoryError(`${path} is damaged; restore it from a copy, or remove it`);
    }
  }

  /** Durable when it returns. */
  write(name: string, value: unknown): void {
    const path = this.file(name);
    guard(path, () => writeDurably(path, JSON.stringify(value), PRIVATE_FILE));
  }

  /** Creates the file unless it is there: of any number of processes exactly one is answered true, once and for all. */
  claim(name: string, value: unknown): boolean {
    const path = this.file(name);
    return guard(path, () => {
      const file = openExclusively(path);
      if (file === undefined) return false;
      try {
        writeSync(file, JSON.stringify(value));
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      syncDirectory(this.path);
      return true;
    });
  }

  remove(name: string): void {
    guard(this.file(name), () => rmSync(this.file(name), { recursive: true, force: true }));
  }

  /** Overwrites before removing, so that the bytes do not outlive the file where the file system writes in place. */
  wipe(name: string): void {
    const path = this.file(name);
    guard(path, () => {
      const size = statSync(path, { throwIfNoEntry: false })?.size;
      if (size === undefined) return;
      const file = openSync(path, "r+");
      try {
        writeSync(file, randomBytes(size), 0, size, 0);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      rmSync(path);
      syncDirectory(this.path);
    });
  }

  /** The lock of this name, or nothing where a running process holds it. What a killed process left behind is taken over. */
  lock(name: string): Lock | undefined {
    const path = this.file(`${name}.lock`);
    return guard(path, () => {
      for (;;) {
        const file = openExclusively(path);
        if (file !== undefined) {
          writeSync(file, `${process.pid}\n`);
          closeSync(file);
          held.add(path);
          return {
            release: () => {
              held.delete(path);
              rmSync(path, { force: true });
            },
          };
        }
        if (held.has(path) || isRunning(holderOf(path))) return undefined;
        rmSync(path, { force: true });
      }
    });
  }
}

/** Locks of this process. */
const held = new Set<string>();

function openExclusively(path: string): number | undefined {
  try {
    return openSync(path, "wx", PRIVATE_FILE);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return undefined;
    throw cause;
  }
}

function holderOf(path: string): number {
  try {
    return Number(readFileSync(path, "utf8"));
  } catch {
    return 0;
  }
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

function guard<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    if (cause instanceof StateDirectoryError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StateDirectoryError(`cannot use ${path}: ${why}; mend it, or name another directory with --state`);
  }
}
