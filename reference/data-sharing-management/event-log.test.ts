import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Level } from "level";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { commit, type Store } from "../store/durable-batch.ts";
import { EventLog } from "./event-log.ts";
import { refused } from "./policy-management.fixture.ts";

let directory: string;
let db: Level<string, string>;
let logs = 0;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "x1410-event-log-"));
  db = new Level(directory);
  await db.open();
});
afterAll(async () => {
  await db.close();
  rmSync(directory, { recursive: true, force: true });
});

function freshStore(): Store {
  return db.sublevel(`log-${++logs}`);
}

async function append(store: Store, log: EventLog, topic: string, text: string): Promise<bigint> {
  const { position, changes } = await log.append(topic, Buffer.from(text));
  await commit(store, changes);
  await log.appended(topic, position);
  return position;
}

async function take(log: EventLog, topic: string, after: bigint, count: number): Promise<string[]> {
  const seen: string[] = [];
  for await (const { position, value } of log.follow(topic, after, new AbortController().signal)) {
    seen.push(`${position} ${Buffer.from(value).toString()}`);
    if (seen.length === count) break;
  }
  return seen;
}

test("gives each topic its own positions, from 1, and replays in order after any of them", async () => {
  const store = freshStore();
  const log = new EventLog({ store });
  for (const text of ["a", "b", "c"]) await append(store, log, "one", text);
  expect(await append(store, log, "two", "x")).toBe(1n);
  expect(await take(log, "one", 0n, 3)).toEqual(["1 a", "2 b", "3 c"]);
  expect(await take(log, "one", 2n, 1)).toEqual(["3 c"]);
  expect(await take(log, "two", 0n, 1)).toEqual(["1 x"]);
});

test("wakes a follower for each new event, and ends when its signal does", async () => {
  const store = freshStore();
  const log = new EventLog({ store });
  const stop = new AbortController();
  const follower = log.follow("topic", 0n, stop.signal);
  for (const text of ["a", "b"]) {
    const next = follower.next();
    await append(store, log, "topic", text);
    expect(Buffer.from((await next).value?.value ?? []).toString()).toBe(text);
  }
  const end = follower.next();
  stop.abort();
  expect((await end).done).toBe(true);
});

test("goes on after a restart where it stood", async () => {
  const store = freshStore();
  await append(store, new EventLog({ store }), "topic", "a");
  const log = new EventLog({ store });
  expect(await append(store, log, "topic", "b")).toBe(2n);
  expect(await take(log, "topic", 0n, 2)).toEqual(["1 a", "2 b"]);
});

test("keeps the newest events; a position whose successors are gone is expired, as is one never given", async () => {
  const store = freshStore();
  const log = new EventLog({ store, keep: 10 });
  for (let count = 1; count <= 25; count++) await append(store, log, "topic", `${count}`);
  expect(await take(log, "topic", 0n, 1)).toEqual(["16 16"]);
  expect(await log.requireKept("topic", 15n)).toBe(25n);
  expect(await take(log, "topic", 15n, 1)).toEqual(["16 16"]);
  for (const position of [1n, 14n, 26n]) {
    await refused(ErrorReason.POSITION_EXPIRED, log.requireKept("topic", position));
    await refused(ErrorReason.POSITION_EXPIRED, take(log, "topic", position, 1));
  }
  const reopened = new EventLog({ store, keep: 10 });
  await refused(ErrorReason.POSITION_EXPIRED, reopened.requireKept("topic", 14n));
  expect(await store.sublevel("events").keys().all()).toHaveLength(10);
});

test("a follower that lags behind the log is told so, and never skips an event silently", async () => {
  const store = freshStore();
  const log = new EventLog({ store, keep: 70 });
  for (let count = 1; count <= 70; count++) await append(store, log, "topic", `${count}`);
  const follower = log.follow("topic", 0n, new AbortController().signal);
  await follower.next();
  for (let count = 71; count <= 300; count++) await append(store, log, "topic", `${count}`);
  const drained = (async () => {
    let last = 1n;
    for await (const { position } of follower) {
      expect(position).toBe(last + 1n);
      last = position;
    }
  })();
  await refused(ErrorReason.POSITION_EXPIRED, drained);
});

test("reads no further ahead of a follower that does not read than one page", async () => {
  const store = freshStore();
  const log = new EventLog({ store });
  for (let count = 1; count <= 200; count++) await append(store, log, "topic", `${count}`);
  const follower = log.follow("topic", 0n, new AbortController().signal);
  await follower.next();
  // What was not read ahead is on disk only: the follower finds it gone.
  await store.sublevel("events").clear({ gt: "topic 0000000000000040", lt: "topic 0000000000000090" });
  let read = 1;
  const drained = (async () => {
    for await (const _ of follower) read++;
  })();
  await refused(ErrorReason.POSITION_EXPIRED, drained);
  expect(read).toBe(64);
});
