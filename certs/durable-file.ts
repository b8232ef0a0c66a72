import { randomBytes } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { PkiError } from "./pki-error.ts";

/** Mode of private keys and of the directories that hold them; everything else is public. */
export const PRIVATE_FILE = 0o600;
export const PRIVATE_DIRECTORY = 0o700;
export const PUBLIC_FILE = 0o644;

export function makePrivateDirectory(path: string): void {
  guard(path, () => void makeDirectory(path));
}

/**
 * Makes a private directory, and those above it that are not there. Node's own `recursive` tries for ever where a file system says that there is
 * no such parent although there is, as /proc does.
 * @returns the first that was made, undefined where all were there
 * @throws the file system's error
 */
export function makeDirectory(path: string): string | undefined {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return undefined;
  const parent = dirname(path);
  const first = parent === path ? undefined : makeDirectory(parent);
  try {
    mkdirSync(path, { mode: PRIVATE_DIRECTORY });
  } catch (cause) {
    // Somebody else was faster.
    if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw cause;
  }
  return first ?? path;
}

/**
 * Writes a file so that a crash at any instant leaves the old content or the new, never a mixture: a temporary file
 * in the same directory, synced, renamed, and the directory synced.
 * @throws PkiError storage_failed
 */
export function writeDurably(path: string, content: string | Uint8Array, mode: number): void {
  const temporary = join(dirname(path), `.${randomBytes(6).toString("hex")}.tmp`);
  guard(path, () => {
    try {
      const file = openSync(temporary, "wx", mode);
      try {
        writeWhole(file, typeof content === "string" ? Buffer.from(content) : content);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(temporary, path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
    syncDirectory(dirname(path));
  });
}

/** `write(2)` may take less than it is given. */
export function writeWhole(file: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.byteLength; ) written += writeSync(file, bytes, written);
}

/** Makes a created or renamed entry survive a power cut. */
export function syncDirectory(path: string): void {
  const directory = openSync(path, "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/** The file's text, or nothing where there is no such file. @throws PkiError storage_failed */
export function readIfPresent(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw storageFailed(path, error);
  }
}

function guard<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw storageFailed(path, error);
  }
}

export function storageFailed(path: string, error: unknown): PkiError {
  const reason = (error as NodeJS.ErrnoException).code ?? String(error);
  return new PkiError("storage_failed", `${path} (${reason})`, { cause: error });
}
