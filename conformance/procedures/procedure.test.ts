import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import { overwrite } from "../verdict.ts";
import { Deviation, Inconclusive, type Procedure, replay, type Script } from "./procedure.ts";

const procedure = (play: (script: Script) => Promise<void>): Procedure<undefined> => ({
  id: "F3",
  clause: "7.3.1",
  title: "for the test",
  stepIds: ["F3.1", "F3.2.1", "F3.2.2"],
  replay: (script) => play(script),
});

const verdicts = async (play: (script: Script) => Promise<void>) =>
  (await replay(procedure(play), undefined)).steps.map((step) => [step.id, step.verdict]);

describe("a replay", () => {
  test("passes what passes and keeps what was seen", async () => {
    const result = await replay(
      procedure(async ({ step, consequence, unobservable }) => {
        const value = await step("F3.1", "DP", "collects", (seen) => {
          seen("two records");
          return 2;
        });
        await consequence("F3.2.1", "DP ↔ KSS", "authenticates", () => value + 1);
        unobservable("F3.2.2", "DP → KSS", "registers", "nothing shows it");
      }),
      undefined,
    );
    expect(result.steps.map((step) => [step.verdict, step.visibility, step.seen])).toEqual([
      ["PASS", "observed", "two records"],
      ["PASS", "consequence", ""],
      [undefined, "unobservable", "nothing shows it"],
    ]);
  });

  test("a wrong answer fails its step and leaves what depends on it inconclusive", async () => {
    expect(
      await verdicts(async ({ step }) => {
        await step("F3.1", "DP", "", () => {
          throw new Deviation("something else");
        });
        await step("F3.2.1", "DP ↔ KSS", "", () => 0);
      }),
    ).toEqual([
      ["F3.1", "FAIL"],
      ["F3.2.1", "INCONC"],
      ["F3.2.2", "INCONC"],
    ]);
  });

  test("independent branches run although one failed, and what follows is inconclusive", async () => {
    expect(
      await verdicts(async ({ step, independently }) => {
        await independently(
          () => step("F3.1", "DP", "", () => Promise.reject(refusal(ErrorReason.KEY_NOT_FOUND))),
          () => step("F3.2.1", "DP ↔ KSS", "", () => 0),
        );
        await step("F3.2.2", "DP → KSS", "", () => 0);
      }),
    ).toEqual([
      ["F3.1", "FAIL"],
      ["F3.2.1", "PASS"],
      ["F3.2.2", "INCONC"],
    ]);
  });

  test.each([
    ["a dead network", new ConnectError("gone", Code.Unavailable), "INCONC"],
    ["a reason under UNAVAILABLE", refusal(ErrorReason.LEDGER_UNAVAILABLE), "FAIL"],
    ["something that was not given", new Inconclusive("no certificate"), "INCONC"],
    ["a bug of the kit", new TypeError("undefined is not a function"), "ERROR"],
  ])("%s", async (_, cause, verdict) => {
    const [first] = await verdicts(
      async ({ step }) => void (await step("F3.1", "DP", "", () => Promise.reject(cause))),
    );
    expect(first).toEqual(["F3.1", verdict]);
  });

  test("a step that the kit forgot, or a fault between steps, is an error of the kit", async () => {
    expect((await verdicts(async () => {})).map(([, verdict]) => verdict)).toEqual(["ERROR", "ERROR", "ERROR"]);
    expect((await verdicts(() => Promise.reject(new Error("bug")))).map(([, verdict]) => verdict)).toEqual([
      "ERROR",
      "ERROR",
      "ERROR",
    ]);
  });
});

test("verdicts overwrite one another in the order of ISO/IEC 9646-1", () => {
  expect(overwrite([])).toBeUndefined();
  expect(overwrite(["PASS", "INCONC", "PASS"])).toBe("INCONC");
  expect(overwrite(["FAIL", "INCONC"])).toBe("FAIL");
  expect(overwrite(["FAIL", "ERROR", "PASS"])).toBe("ERROR");
});
