import { describe, expect, test } from "vitest";
import { UserAuthenticationService } from "../../gen/x1410/v1/user_authentication_pb.ts";
import { Deviation, Inconclusive } from "../procedures/procedure.ts";
import { expectRefused, expectServerRefused, type Outcome } from "./client-under-test.ts";
import type { ObservedCall } from "./observation.ts";

const call = { method: UserAuthenticationService.method.beginAuthentication } as unknown as ObservedCall;
const refused: Outcome = { code: 1, timedOut: false, stdout: "", stderr: "", output: undefined, calls: [call] };

function thrownBy(judge: () => void): unknown {
  try {
    judge();
  } catch (cause) {
    return cause;
  }
}

describe("a client has refused what it was shown", () => {
  const judge = (change: Partial<Outcome>) => thrownBy(() => expectRefused({ ...refused, ...change }, "it is wrong"));

  test("where it called, and ended with another exit code and no plaintext", () => {
    expect(judge({})).toBeUndefined();
    expect(judge({ code: 0 })).toBeInstanceOf(Deviation);
    expect(judge({ output: new Uint8Array(1) })).toBeInstanceOf(Deviation);
  });

  test("not where it called nobody, or was ended", () => {
    expect(judge({ calls: [] })).toBeInstanceOf(Inconclusive);
    expect(judge({ code: undefined })).toBeInstanceOf(Inconclusive);
  });
});

describe("a client has refused a server", () => {
  const judge = (reached: number, change: Partial<Outcome> = {}) =>
    thrownBy(() => expectServerRefused({ ...refused, calls: [], ...change }, { reached }, "it is wrong"));

  test("where it came there and broke off", () => {
    expect(judge(1)).toBeUndefined();
    expect(judge(1, { code: undefined })).toBeUndefined();
    expect(judge(1, { code: 0 })).toBeInstanceOf(Deviation);
  });

  test("not where it never came there", () => {
    expect(judge(0)).toBeInstanceOf(Inconclusive);
    expect(judge(0, { code: 0 })).toBeInstanceOf(Deviation);
  });
});
