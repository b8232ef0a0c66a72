// A family of purposes: a method is called by somebody whom the interface does not name among its callers (AAC3).
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { EntityRole } from "../target.ts";
import type { TestCase } from "../test-case.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";
import { leavingUnchanged, type StateReader } from "./unchanged-state.ts";

export interface WrongCaller {
  readonly id: PurposeId;
  readonly clause: string;
  readonly method: string;
  readonly steps?: readonly string[];
  readonly capabilities?: readonly string[];
  readonly requires?: readonly string[];
  readonly tester?: readonly EntityRole[];
  /** Who calls: "a user", "an operator". */
  readonly caller: string;
  /** Whom the method answers, in the words of the twin. */
  readonly answers: string;
  readonly likelyMistake: string;
  /** `state` reads, as somebody who may, what the wrong call would change. */
  readonly calls: (t: TestCase) => Promise<{
    readonly right: () => Promise<unknown>;
    readonly wrong: () => Promise<unknown>;
    readonly state?: StateReader;
  }>;
}

export function wrongCaller({ method, caller, answers, calls, capabilities = [], ...rest }: WrongCaller): Purpose {
  const name = method.split("/")[1];
  return purpose({
    ...rest,
    title: `does not answer ${name} to ${caller}`,
    capabilities: [...capabilities, "AAC3"],
    methods: [method],
    initialState: `${caller}, with a good certificate`,
    stimulus: `${name} by ${caller}`,
    expected: { reason: ErrorReason.CALLER_NOT_ALLOWED },
    twin: answers,
    async run(t) {
      const { right, wrong, state = async () => undefined } = await calls(t);
      await t.positiveTwin(answers, right);
      await leavingUnchanged(`what ${name} would change`, state, () => t.expectRefusal(wrong));
    },
  });
}
