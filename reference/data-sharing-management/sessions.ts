// Sessions of authenticated users (AAU1, clause 6.2.2). The secret goes to the user alone; kept is its SHA-256, so that nobody can take a
// session out of the store.
import { createHash, randomBytes } from "node:crypto";
import type { Account } from "../../gen/x1410/v1/identity_pb.ts";
import { isStorageFailure } from "../communications/fault.ts";
import type { Peer } from "../communications/peer.ts";
import { type Change, commit, jsonTable, put, remove, type Store, type Table } from "../store/durable-batch.ts";
import type { Accounts } from "./user-account.ts";

/** Until a session ends by itself. */
export const SESSION_LIFETIME_MS = 15 * 60_000;

/** Sessions that one user may hold; a further one ends the oldest. */
const SESSIONS_PER_USER = 64;

interface StoredSession {
  readonly identity: string;
  /** What the session works with only; see `bindingOf`. */
  readonly binding: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly expiresAt: number;
  /** Ended by its user; kept until it expires, so that a repeated EndSession is told from one of nobody's. */
  readonly ended: boolean;
}

export interface Session {
  /** As of now. */
  readonly account: Account;
  readonly expiresAt: Date;
}

/**
 * What a session is bound to, 64 hexadecimal digits: the fingerprint of the client certificate or, on a connection by pre-shared key, the
 * digest of the key's identity.
 */
export function bindingOf(peer: Peer): string {
  return peer.fingerprint === "" ? sha256(`x1410-psk ${peer.identity}`) : peer.fingerprint;
}

export class Sessions {
  readonly #store: Store;
  readonly #accounts: Accounts;
  readonly #now: () => Date;
  readonly #sessions: Table<StoredSession>;
  /** The same by identity and digest: the sessions of one user. */
  readonly #ofUser: Table<StoredSession>;
  /** By digest, those that could not be stored: a full disk keeps nobody from reading. They end with the process. */
  readonly #held = new Map<string, StoredSession>();

  constructor({ store, accounts, now }: { store: Store; accounts: Accounts; now: () => Date }) {
    this.#store = store;
    this.#accounts = accounts;
    this.#now = now;
    this.#sessions = jsonTable(store, "sessions");
    this.#ofUser = jsonTable(store, "sessions-of-user");
  }

  /** Opens a session of `identity` that works with `binding` only. */
  async open(identity: string, binding: string): Promise<{ secret: string; expiresAt: Date }> {
    const secret = randomBytes(32).toString("base64url");
    const createdAt = this.#now().getTime();
    const session = { identity, binding, createdAt, expiresAt: createdAt + SESSION_LIFETIME_MS, ended: false };
    const digest = sha256(secret);
    const over = await this.#over(identity);
    try {
      await commit(this.#store, [
        ...over.flatMap((ended) => this.#removal(identity, ended)),
        put(this.#sessions, digest, session),
        put(this.#ofUser, `${identity} ${digest}`, session),
      ]);
    } catch (cause) {
      if (!isStorageFailure(cause)) throw cause;
      this.#hold(digest, session);
    }
    return { secret, expiresAt: new Date(session.expiresAt) };
  }

  /** The session behind a secret; undefined where it is unknown, over, bound elsewhere or its account is gone. */
  async find(secret: string, binding: string): Promise<Session | undefined> {
    const session = await this.#bound(sha256(secret), binding);
    if (session === undefined || session.ended) return undefined;
    const account = await this.#accounts.get(session.identity);
    return account === undefined ? undefined : { account, expiresAt: new Date(session.expiresAt) };
  }

  /** Ends the session behind a secret; false where there is none that works with `binding`. Ended again, it is ended still. */
  async end(secret: string, binding: string): Promise<boolean> {
    const digest = sha256(secret);
    const session = await this.#bound(digest, binding);
    if (session === undefined) return false;
    const ended = { ...session, ended: true };
    if (!session.ended) {
      const held = this.#held.has(digest);
      if (held) this.#held.set(digest, ended);
      await commit(this.#store, [
        put(this.#sessions, digest, ended),
        put(this.#ofUser, `${session.identity} ${digest}`, ended),
      ]).catch((cause) => {
        if (!held || !isStorageFailure(cause)) throw cause;
      });
    }
    return true;
  }

  /** Ends every session of a user (UAM1: the account is gone). */
  async endAll(identity: string): Promise<void> {
    for (const [digest, held] of this.#held) if (held.identity === identity) this.#held.delete(digest);
    const writes: Change[] = [];
    for await (const key of this.#ofUser.keys(keysOf(identity))) {
      writes.push(...this.#removal(identity, key.slice(identity.length + 1)));
    }
    if (writes.length > 0) await commit(this.#store, writes);
  }

  #hold(digest: string, session: StoredSession): void {
    const now = this.#now().getTime();
    for (const [other, { expiresAt }] of this.#held) if (expiresAt <= now) this.#held.delete(other);
    const ofUser = [...this.#held].filter(([, { identity }]) => identity === session.identity);
    // In the order in which they were opened.
    for (const [oldest] of ofUser.slice(0, Math.max(0, ofUser.length - SESSIONS_PER_USER + 1)))
      this.#held.delete(oldest);
    this.#held.set(digest, session);
  }

  /** Digests of the sessions that are to go when the user opens one more: expired ones, and the oldest where there are too many. */
  async #over(identity: string): Promise<string[]> {
    const now = this.#now().getTime();
    const live: { digest: string; createdAt: number }[] = [];
    const over: string[] = [];
    for await (const [key, { createdAt, expiresAt }] of this.#ofUser.iterator(keysOf(identity))) {
      const digest = key.slice(identity.length + 1);
      if (expiresAt <= now) over.push(digest);
      else live.push({ digest, createdAt });
    }
    live.sort((one, other) => one.createdAt - other.createdAt);
    const surplus = Math.max(0, live.length - SESSIONS_PER_USER + 1);
    return [...over, ...live.slice(0, surplus).map(({ digest }) => digest)];
  }

  async #bound(digest: string, binding: string): Promise<StoredSession | undefined> {
    const session = this.#held.get(digest) ?? (await this.#sessions.get(digest));
    return session?.binding === binding && session.expiresAt > this.#now().getTime() ? session : undefined;
  }

  #removal(identity: string, digest: string): Change[] {
    return [remove(this.#sessions, digest), remove(this.#ofUser, `${identity} ${digest}`)];
  }
}

/** Identities hold no space, so that no identity's range reaches into another's. */
function keysOf(identity: string) {
  return { gt: `${identity} `, lt: `${identity}!` };
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
