import { expect, test } from "vitest";
import { KeyedMutex } from "./keyed-mutex.ts";

test("tasks of one key run one after the other, in order, and those of another key do not wait", async () => {
  const mutex = new KeyedMutex();
  const gate = Promise.withResolvers<void>();
  const seen: string[] = [];
  const first = mutex.run("a", async () => {
    await gate.promise;
    seen.push("a1");
  });
  const second = mutex.run("a", () => seen.push("a2"));
  await mutex.run("b", () => seen.push("b1"));
  gate.resolve();
  await Promise.all([first, second]);
  expect(seen).toEqual(["b1", "a1", "a2"]);
});

test("a task that fails fails alone", async () => {
  const mutex = new KeyedMutex();
  const failing = mutex.run("a", () => Promise.reject(new Error("no")));
  const next = mutex.run("a", () => "yes");
  await expect(failing).rejects.toThrow("no");
  await expect(next).resolves.toBe("yes");
});
