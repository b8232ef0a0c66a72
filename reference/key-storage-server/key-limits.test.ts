// What one identity may register and store (KSM1 to KSM3), whether or not it has an account anywhere.
import { expect, test } from "vitest";
import { refusalOf } from "../store/entity.fixture.ts";
import {
  alice,
  as,
  clock,
  DAY,
  mallory,
  random,
  register,
  replaceBatch,
  restart,
  restartWith,
  serverForEachTest,
  stored,
} from "./key-storage-server.fixture.ts";

serverForEachTest();

const EXCEEDED = "RESOURCE_EXHAUSTED QUOTA_EXCEEDED";

test("registrations of one identity are limited while they are open, also after a restart; another identity is served", async () => {
  await restartWith({ openRegistrations: 2 });
  const requestId = random(16);
  const first = await register({ requestId });
  const second = await register();
  expect(await refusalOf(register())).toBe(EXCEEDED);
  // Asked for again, it is the same one.
  expect(await register({ requestId })).toEqual(first);
  await restart();
  expect(await refusalOf(register())).toBe(EXCEEDED);
  await register({}, mallory);
  await as(alice).storeKey({ keyId: first.keyId, key: random(32) });
  await register();
  expect(await refusalOf(register())).toBe(EXCEEDED);
  await as(alice).deleteKey({ keyId: second.keyId });
  await register();
  expect(await refusalOf(register())).toBe(EXCEEDED);
});

test("a registration that has ended frees its place, before and after a restart", async () => {
  await restartWith({ openRegistrations: 2 });
  await register();
  clock.advance(DAY / 2);
  await register();
  await restart();
  clock.advance(DAY / 2);
  await register();
  expect(await refusalOf(register())).toBe(EXCEEDED);
  await restart();
  expect(await refusalOf(register())).toBe(EXCEEDED);
  clock.advance(DAY / 2);
  await register();
});

test("of many registrations or keys at once no more than allowed get in", async () => {
  await restartWith({ openRegistrations: 10, storedKeys: 3 });
  const registered = await Promise.allSettled(Array.from({ length: 20 }, () => register()));
  const ids = registered.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value.keyId] : []));
  expect(ids).toHaveLength(10);
  const outcomes = await Promise.allSettled(ids.map((keyId) => as(alice).storeKey({ keyId, key: random(32) })));
  expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
});

test("stored keys of one identity are limited, also after a restart; a deleted one frees its place; another identity is served", async () => {
  await restartWith({ storedKeys: 2 });
  const one = await stored();
  await stored();
  const { keyId } = await register();
  const late = { keyId, key: random(32) };
  expect(await refusalOf(as(alice).storeKey(late))).toBe(EXCEEDED);
  await as(alice).storeKey(one);
  await restart();
  expect(await refusalOf(as(alice).storeKey(late))).toBe(EXCEEDED);
  const other = await register({}, mallory);
  await as(mallory).storeKey({ keyId: other.keyId, key: random(32) });
  await as(alice).deleteKey({ keyId: one.keyId });
  await as(alice).deleteKey({ keyId: one.keyId });
  await as(alice).storeKey(late);
  expect(await refusalOf(stored())).toBe(EXCEEDED);
});

test("what could not be written is not counted", async () => {
  await restartWith({ openRegistrations: 2, storedKeys: 1 });
  const { keyId } = await register();
  replaceBatch(() => Promise.reject(new Error("disk full")));
  expect(await refusalOf(register())).toBe("INTERNAL INTERNAL_FAULT");
  expect(await refusalOf(as(alice).storeKey({ keyId, key: random(32) }))).toBe("INTERNAL INTERNAL_FAULT");
  replaceBatch((proceed) => proceed());
  const again = await register();
  await as(alice).storeKey({ keyId: again.keyId, key: random(32) });
});
