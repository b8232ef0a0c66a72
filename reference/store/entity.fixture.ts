// What the tests of storage components stand on: a temporary data directory, a clock that is set by hand, callers, and refusals as data.
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { Level } from "level";
import type { Peer } from "../communications/peer.ts";
import { reasonName, reasonOf } from "../communications/refusal.ts";

export class Clock {
  #at = Date.parse("2026-03-01T12:00:00Z");
  readonly now = (): Date => new Date(this.#at);

  advance(milliseconds: number): void {
    this.#at += milliseconds;
  }
}

export async function temporaryDirectory(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "x1410-store-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

export async function openDatabase(directory: string): Promise<Level<string, string>> {
  const db = new Level<string, string>(join(directory, "level"));
  await db.open();
  return db;
}

/** A caller with a certificate of its own, named by `identity`. */
export function peerOf(identity: string): Peer {
  const certificate = new TextEncoder().encode(`certificate of ${identity}`);
  const fingerprint = createHash("sha256").update(certificate).digest("hex");
  return { identity, fingerprint, certificate, transport: "mtls", connectionId: identity };
}

/** How a call was refused, e.g. `NOT_FOUND KEY_NOT_FOUND`. @throws Error where it was not */
export async function refusalOf(call: PromiseLike<unknown>): Promise<string> {
  try {
    await call;
  } catch (cause) {
    if (!(cause instanceof ConnectError)) throw cause;
    const code = Code[cause.code].replaceAll(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
    return `${code} ${reasonName(reasonOf(cause))}`;
  }
  throw new Error("the call was not refused");
}

export async function collect<T>(messages: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const message of messages) all.push(message);
  return all;
}
