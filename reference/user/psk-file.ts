// Which servers a user reaches by pre-shared key instead of certificate (AAC1, clause 7.2.5), and by which key: a file for its owner alone.
import { stat } from "node:fs/promises";
import { PRIVATE_FILE, readIfPresent, writeDurably } from "../../certs/durable-file.ts";
import { PreSharedKeyFileError } from "../communications/pre-shared-key-file.ts";
import { PreSharedKeys } from "../communications/pre-shared-keys.ts";

/** One server with a port for pre-shared keys. */
export interface PskServer {
  /** The server's identity, which it proves by certificate before anything is sent. */
  readonly server: string;
  /** host:port of that port. */
  readonly endpoint: string;
  /** The user's key for this server, 32 to 64 bytes; a secret. */
  readonly key: Uint8Array;
}

/** Written anew at each start of a stack: ports change. */
export function writePskFile(path: string, servers: readonly PskServer[]): void {
  const entries = servers.map((one) => ({ ...one, key: Buffer.from(one.key).toString("base64") }));
  writeDurably(path, `${JSON.stringify(entries, undefined, 2)}\n`, PRIVATE_FILE);
}

/** Reads `[{"server": "urn:…", "endpoint": "HOST:PORT", "key": "BASE64"}]`. @throws PreSharedKeyFileError, which never shows a key */
export async function readPskFile(path: string): Promise<PskServer[]> {
  const text = readIfPresent(path)?.toString();
  if (text === undefined)
    throw new PreSharedKeyFileError(`${path} is not there; \`npx x1410 up --psk\` makes such files`);
  const mode = (await stat(path)).mode & 0o777;
  if ((mode & 0o077) !== 0)
    throw new PreSharedKeyFileError(`${path} is open to others (mode ${mode.toString(8)}); run chmod 600 on it`);
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, which holds keys.
    throw new PreSharedKeyFileError(`${path} is not JSON`);
  }
  if (!Array.isArray(content) || content.length === 0) throw new PreSharedKeyFileError(`${path} lists no server`);
  return content.map((entry: unknown, index) => entryOf(entry, `${path}: entry ${index}`));
}

function entryOf(entry: unknown, place: string): PskServer {
  const { server, endpoint, key } = (entry ?? {}) as Record<string, unknown>;
  const texts = [server, endpoint, key].every((value) => typeof value === "string");
  if (!texts || !/^[A-Za-z0-9+/]+={0,2}$/.test(String(key)))
    throw new PreSharedKeyFileError(
      `${place} is not {"server": "urn:x1410:entity:KIND:NAME", "endpoint": "HOST:PORT", "key": "BASE64"}`,
    );
  const bytes = Buffer.from(String(key), "base64");
  try {
    // The rules that the server has for keys.
    new PreSharedKeys([{ identity: "urn:x1410:user:self", key: bytes }]);
  } catch (cause) {
    throw new PreSharedKeyFileError(`${place}: ${cause instanceof Error ? cause.message : "unusable"}`);
  }
  return { server: String(server), endpoint: String(endpoint), key: bytes };
}
