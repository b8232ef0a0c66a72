import { expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import { Deviation } from "../procedures/procedure.ts";
import { leavingUnchanged } from "./unchanged-state.ts";

const work = async () => {};

test("what is as before passes, be it something or nothing", async () => {
  await leavingUnchanged("the key", async () => ({ state: 2n, bytes: Uint8Array.of(1, 2) }), work);
  await leavingUnchanged("the key", () => Promise.reject(refusal(ErrorReason.KEY_NOT_FOUND)), work);
});

test.each([
  ["another value", async () => ({ state: 3n })],
  ["nothing any more", () => Promise.reject(refusal(ErrorReason.KEY_NOT_FOUND))],
])("%s is a deviation", async (_, after) => {
  let read: () => Promise<unknown> = async () => ({ state: 2n });
  const change = async () => {
    read = after;
  };
  await expect(leavingUnchanged("the key", () => read(), change)).rejects.toThrow(Deviation);
});

test("a network that does not answer is no state", async () => {
  const lost = new Error("connection lost");
  await expect(leavingUnchanged("the key", () => Promise.reject(lost), work)).rejects.toBe(lost);
});
