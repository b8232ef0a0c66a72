// How a procedure of X.1410 is replayed: step by step in the order of its figure, each with a verdict and what was seen.
import { Code, ConnectError } from "@connectrpc/connect";
import { reasonName, reasonOf } from "../../reference/communications/refusal.ts";
import type { Verdict } from "../verdict.ts";

export type ProcedureId = "F3" | "F4" | "A1" | "A2";

/**
 * How a step is shown: `observed` on an interface; `consequence`, where it happens inside the implementation and something that follows
 * from it is seen; `unobservable`, where nothing outside can tell, with the reason.
 */
export type Visibility = "observed" | "consequence" | "unobservable";

export interface StepResult {
  readonly id: string;
  /** From and to, as in the figure. */
  readonly arrow: string;
  readonly what: string;
  readonly visibility: Visibility;
  /** Undefined only where the step is unobservable. */
  readonly verdict: Verdict | undefined;
  /** What was seen; of a consequence, what shows the step; of an unobservable step or an INCONC, the reason. */
  readonly seen: string;
  readonly durationMs: number;
}

export interface ProcedureResult {
  readonly id: ProcedureId;
  readonly title: string;
  readonly clause: string;
  readonly steps: readonly StepResult[];
}

/** What a deviation knows of itself beside what was asked for. */
export interface Circumstances {
  /** What came instead. */
  readonly actual?: string;
  /** Whether it came on the way to what the purpose is about: the purpose's likely mistake does not explain it then. */
  readonly onTheWay?: boolean;
}

/** Thrown by a check of the kit: the implementation answered, and the answer is wrong. */
export class Deviation extends Error {
  override name = "Deviation";
  readonly actual: string;
  readonly onTheWay: boolean;

  constructor(expectation: string, { actual = "", onTheWay = false }: Circumstances = {}) {
    super(expectation);
    this.actual = actual;
    this.onTheWay = onTheWay;
  }
}

/** Thrown where nothing can be judged: the peer cannot be reached, or something that the step needs was not given. */
export class Inconclusive extends Error {
  override name = "Inconclusive";
}

/** Fails the step unless `condition` holds; `expectation` says what X.1410 or the profile asks, in the words of a report. */
export function expect(condition: boolean, expectation: string, actual = ""): asserts condition {
  if (!condition) throw new Deviation(expectation, { actual });
}

/** As `expect`, for what has to hold before the purpose comes to what it is about. */
export function expectFirst(condition: boolean, expectation: string, actual = ""): asserts condition {
  if (!condition) throw new Deviation(expectation, { actual, onTheWay: true });
}

/** Begins what a later step awaits; a failure is judged there, not as an unhandled one before. */
export function begun<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {});
  return work;
}

type Action<T> = (seen: (text: string) => void) => Promise<T> | T;

export interface Script {
  /** Brings the target into the state that the procedure starts from. Where that fails, every step is inconclusive. */
  preamble<T>(what: string, action: () => Promise<T>): Promise<T>;
  /** A step seen on an interface. Its value is what later steps build on. */
  step<T>(id: string, arrow: string, what: string, action: Action<T>): Promise<T>;
  /** A step inside the implementation, shown by what follows from it. */
  consequence<T>(id: string, arrow: string, what: string, action: Action<T>): Promise<T>;
  /** A step that nothing outside can show. */
  unobservable(id: string, arrow: string, what: string, reason: string): void;
  /** Runs branches that do not depend on each other: each runs even where one before it failed. */
  independently(...branches: (() => Promise<unknown>)[]): Promise<void>;
}

export interface Procedure<Roles> {
  readonly id: ProcedureId;
  readonly clause: string;
  readonly title: string;
  /** Every step of the figure in order, so that a step that was never reached is reported too. */
  readonly stepIds: readonly string[];
  readonly replay: (script: Script, roles: Roles) => Promise<void>;
}

/** Ends a procedure after a failed step or preamble: everything that follows depends on it. */
class Stopped extends Error {
  override name = "Stopped";
}

/** Replays `procedure` and reports every step of its figure, in the figure's order. `onStep` is told each result as it comes. */
export async function replay<Roles>(
  procedure: Procedure<Roles>,
  roles: Roles,
  onStep: (result: StepResult) => void = () => {},
): Promise<ProcedureResult> {
  const results = new Map<string, StepResult>();
  const report = (result: StepResult) => {
    if (results.has(result.id)) throw new Error(`step ${result.id} is reported twice`);
    results.set(result.id, result);
    onStep(result);
  };
  let stopped: Stopped | undefined;
  let fault: unknown;
  try {
    await procedure.replay(script(report), roles);
  } catch (cause) {
    if (cause instanceof Stopped) stopped = cause;
    else fault = cause;
  }
  for (const id of procedure.stepIds.filter((each) => !results.has(each))) report(notReached(id, stopped, fault));
  const inOrder = procedure.stepIds.map((id) => results.get(id)).filter((each) => each !== undefined);
  return { id: procedure.id, title: procedure.title, clause: procedure.clause, steps: inOrder };
}

function notReached(id: string, stopped: Stopped | undefined, fault: unknown): StepResult {
  const common = { id, arrow: "", what: "not reached", visibility: "observed" as const, durationMs: 0 };
  if (stopped !== undefined) return { ...common, verdict: "INCONC", seen: stopped.message };
  return {
    ...common,
    verdict: "ERROR",
    seen: fault === undefined ? "the kit has no such step" : `the kit failed: ${fault}`,
  };
}

function script(report: (result: StepResult) => void): Script {
  const run = async <T>(
    visibility: Visibility,
    id: string,
    arrow: string,
    what: string,
    action: Action<T>,
  ): Promise<T> => {
    const from = performance.now();
    const remarks: string[] = [];
    const finish = (verdict: Verdict, seen: string) =>
      report({ id, arrow, what, visibility, verdict, seen, durationMs: performance.now() - from });
    try {
      const value = await action((text) => remarks.push(text));
      finish("PASS", remarks.join("; "));
      return value;
    } catch (cause) {
      if (cause instanceof Stopped) throw cause;
      finish(...judge(cause));
      throw new Stopped(`depends on ${id}`);
    }
  };
  return {
    preamble: (what, action) =>
      action().catch((cause: unknown) => {
        const [verdict, text] = judge(cause);
        if (verdict === "ERROR") throw cause;
        throw new Stopped(`the preamble failed (${what}): ${text}`);
      }),
    step: (id, arrow, what, action) => run("observed", id, arrow, what, action),
    consequence: (id, arrow, what, action) => run("consequence", id, arrow, what, action),
    unobservable: (id, arrow, what, reason) =>
      report({ id, arrow, what, visibility: "unobservable", verdict: undefined, seen: reason, durationMs: 0 }),
    async independently(...branches) {
      let first: unknown;
      for (const branch of branches)
        await branch().catch((cause: unknown) => {
          if (!(cause instanceof Stopped)) throw cause;
          first ??= cause;
        });
      if (first !== undefined) throw first;
    },
  };
}

/** Codes that a dead or overloaded network gives as well as a server: nothing is proven by them. */
const inconclusiveCodes = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.Canceled]);

/** The verdict that an exception of a check means, and what it says: the implementation's fault, the network's, or the kit's own. */
export function judge(cause: unknown): [Verdict, string] {
  if (cause instanceof Deviation)
    return ["FAIL", `expected: ${cause.message}${cause.actual === "" ? "" : `; actual: ${cause.actual}`}`];
  if (cause instanceof Inconclusive) return ["INCONC", cause.message];
  if (cause instanceof ConnectError) {
    const reason = reasonOf(cause);
    const text = `${Code[cause.code]}${reason === 0 ? "" : ` ${reasonName(reason)}`}: ${cause.rawMessage}`;
    return [inconclusiveCodes.has(cause.code) && reason === 0 ? "INCONC" : "FAIL", text];
  }
  return ["ERROR", cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)];
}
