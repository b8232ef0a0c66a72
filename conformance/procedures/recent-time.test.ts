import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { Deviation } from "./procedure.ts";
import { expectRecent } from "./recent-time.ts";

describe("a time of what has just happened", () => {
  const began = Date.now();

  test.each([
    ["now", 0],
    ["as a clock says that is half a minute slow", -30_000],
    ["as a clock says that is half a minute fast", 30_000],
  ])("%s passes", (_, shift) => {
    expectRecent(timestampFromMs(began + shift), "accessed_at", began);
  });

  test.each([
    ["1970", timestampFromMs(0)],
    ["an hour ahead", timestampFromMs(began + 3_600_000)],
    ["no time", undefined],
  ])("%s is a deviation", (_, time) => {
    expect(() => expectRecent(time, "accessed_at", began)).toThrow(Deviation);
  });
});
