import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import { repeat } from "./repetition.ts";
import { failureOf, impatient } from "./user.fixture.ts";

const failing = (causes: readonly unknown[]) => {
  let calls = 0;
  const call = async () => {
    const cause = causes[calls++];
    if (cause !== undefined) throw cause;
    return calls;
  };
  return { call, calls: () => calls };
};

test.each([
  ["a ledger that is away", refusal(ErrorReason.LEDGER_UNAVAILABLE)],
  ["an unknown outcome", refusal(ErrorReason.OUTCOME_UNKNOWN)],
  ["a connection that is refused", new ConnectError("no connection", Code.Unavailable)],
  ["a stream that the network cancelled", new ConnectError("RST_STREAM", Code.Canceled)],
])("after %s the identical call is made again", async (_, cause) => {
  const { call } = failing([cause, cause]);
  expect(await repeat(impatient, call)).toBe(3);
});

test("a refusal for good is not repeated", async () => {
  const { call, calls } = failing([refusal(ErrorReason.RIGHT_MISSING)]);
  expect(reasonOf(await failureOf(repeat(impatient, call)))).toBe(ErrorReason.RIGHT_MISSING);
  expect(calls()).toBe(1);
});

test("patience ends, and the last failure is told", async () => {
  const away = refusal(ErrorReason.PEER_UNAVAILABLE);
  const { call, calls } = failing([away, away, away, away]);
  expect(reasonOf(await failureOf(repeat(impatient, call)))).toBe(ErrorReason.PEER_UNAVAILABLE);
  expect(calls()).toBe(3);
});

test("pauses double up to the longest", async () => {
  const pauses: number[] = [];
  const pause = async (ms: number) => void pauses.push(ms);
  const away = refusal(ErrorReason.PEER_UNAVAILABLE);
  await repeat({ attempts: 6, firstPauseMs: 100, longestPauseMs: 400, pause }, failing([away, away, away, away]).call);
  for (const [at, longest] of [100, 200, 400, 400].entries()) {
    expect(pauses[at]).toBeLessThanOrEqual(longest);
    expect(pauses[at]).toBeGreaterThanOrEqual(longest / 2);
  }
});

test("a bug is no failure that passes", async () => {
  const { call, calls } = failing([new TypeError("undefined is not a function")]);
  expect(await failureOf(repeat(impatient, call))).toBeInstanceOf(TypeError);
  expect(calls()).toBe(1);
});
