// Where a server keeps the pre-shared keys of its users. TLS needs the keys themselves, so that they cannot be kept as hashes: the file is
// for its owner alone, and refused where others may read it.
import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { PRIVATE_FILE, readIfPresent, writeDurably } from "../../certs/durable-file.ts";
import type { Log } from "./log.ts";
import { type PreSharedKey, PreSharedKeys } from "./pre-shared-keys.ts";
import { watchFile } from "./watched-file.ts";

/** A file of pre-shared keys that cannot be used; the message says why and never shows a key. */
export class PreSharedKeyFileError extends Error {
  override readonly name = "PreSharedKeyFileError";
}

const KEY_BYTES = 32;

export interface PreSharedKeyFile {
  readonly keys: PreSharedKeys;
  close(): void;
}

/** Writes a file with a fresh key for each user, unless it is there. @throws PreSharedKeyFileError where it cannot be written */
export function createPreSharedKeyFile(path: string, identities: readonly string[]): void {
  if (readIfPresent(path) !== undefined) return;
  const entries = identities.map((identity) => ({ identity, key: randomBytes(KEY_BYTES).toString("base64") }));
  writeDurably(path, `${JSON.stringify(entries, undefined, 2)}\n`, PRIVATE_FILE);
}

/**
 * Reads the file, JSON: `[{"identity": "urn:x1410:user:NAME", "key": "BASE64"}]`, and follows its changes: a new key is good for the next
 * handshake, and connections under one that is gone are cut. While the file is malformed or gone the former keys hold.
 * @throws PreSharedKeyFileError where it is missing, malformed, or others than its owner may read it
 */
export function openPreSharedKeyFile(path: string, log: Log): PreSharedKeyFile {
  const keys = new PreSharedKeys(readPreSharedKeyFile(path));
  const watcher = watchFile(
    path,
    () => {
      keys.replace(readPreSharedKeyFile(path));
      log.info("pre-shared keys replaced", { file: path });
    },
    log,
  );
  return { keys, close: () => watcher.close() };
}

/** @throws PreSharedKeyFileError */
export function readPreSharedKeyFile(path: string): PreSharedKey[] {
  const text = readIfPresent(path)?.toString();
  if (text === undefined) throw new PreSharedKeyFileError(`${path} is not there`);
  const mode = statSync(path).mode & 0o777;
  if ((mode & 0o077) !== 0)
    throw new PreSharedKeyFileError(`${path} is open to others (mode ${mode.toString(8)}); run chmod 600 on it`);
  const entries = entriesOf(text, path);
  try {
    // The rules of a table of keys, before any of it is used.
    new PreSharedKeys(entries);
  } catch (cause) {
    throw new PreSharedKeyFileError(`${path}: ${cause instanceof Error ? cause.message : "unusable"}`);
  }
  return entries;
}

function entriesOf(text: string, path: string): PreSharedKey[] {
  const malformed = (place: string) =>
    new PreSharedKeyFileError(`${path}: ${place} is not {"identity": "urn:x1410:user:NAME", "key": "BASE64"}`);
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, which holds keys.
    throw new PreSharedKeyFileError(`${path} is not JSON`);
  }
  if (!Array.isArray(content)) throw malformed("the whole");
  return content.map((entry: unknown, index) => {
    const { identity, key } = (entry ?? {}) as Record<string, unknown>;
    if (typeof identity !== "string" || typeof key !== "string" || !/^[A-Za-z0-9+/]+={0,2}$/.test(key))
      throw malformed(`entry ${index}`);
    return { identity, key: Buffer.from(key, "base64") };
  });
}
