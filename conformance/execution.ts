// Runs test purposes on a stage and gives each its verdict, whatever happens: a purpose has a deadline, a campaign a budget, and what a
// purpose made on the target is taken away again.

import { Code, ConnectError } from "@connectrpc/connect";
import type { LoggedCall } from "./message-log.ts";
import { Deviation, Inconclusive, judge, type StepResult } from "./procedures/procedure.ts";
import type { Purpose } from "./purposes/purpose.ts";
import { codeName, expectationText, refusalSeen } from "./refusal.ts";
import type { Stage } from "./stage.ts";
import { collectingStrays } from "./stray-rejections.ts";
import { TestCase, withinSignal } from "./test-case.ts";
import { overwrite, type Verdict } from "./verdict.ts";

export interface PurposeResult {
  readonly id: string;
  readonly verdict: Verdict;
  /** What was asked for. */
  readonly expected: string;
  /** What came instead; "" where it passed. */
  readonly actual: string;
  /** Whether it failed on the way to what the purpose is about, so that its likely mistake explains nothing. */
  readonly onTheWay: boolean;
  /** What was seen on the way. */
  readonly seen: readonly string[];
  /** Of a purpose that replays a procedure. */
  readonly steps: readonly StepResult[];
  /** Decoded messages, without secrets. */
  readonly messages: readonly LoggedCall[];
  readonly durationMs: number;
  /** What could not be taken away from the target afterwards. */
  readonly leftBehind: readonly string[];
}

export interface ExecutionOptions {
  /** Purposes at the same time. */
  readonly parallel: number;
  /** For the whole campaign; what has not begun by then is inconclusive. */
  readonly budgetMs: number;
  /** Begins no further purpose, and soon ends those that go on, each with its clean-up; the reason says why they are inconclusive. */
  readonly stop?: AbortSignal;
  onBegin?(purpose: Purpose): void;
  onStep?(step: StepResult, purpose: Purpose): void;
  onResult?(result: PurposeResult, purpose: Purpose): void;
}

/** For calls that are on their way when the purposes are ended: what an answer names can be taken away again, what nobody named cannot. */
const LAST_CALLS_MS = 2_000;

/** Results in the order of the purposes, whatever the order in which they ended. */
export async function execute(
  purposes: readonly Purpose[],
  stage: Stage,
  options: ExecutionOptions,
): Promise<PurposeResult[]> {
  const results = new Map<string, PurposeResult>();
  const budget = AbortSignal.timeout(options.budgetMs);
  const over = options.stop === undefined ? budget : AbortSignal.any([budget, after(options.stop, LAST_CALLS_MS)]);
  const queue = [...purposes];
  const worker = async () => {
    for (let purpose = queue.shift(); purpose !== undefined; purpose = queue.shift()) {
      options.onBegin?.(purpose);
      const result =
        budget.aborted || options.stop?.aborted === true
          ? notBegun(
              purpose,
              stopText(options) ?? `the campaign's budget of ${options.budgetMs / 1000} s was spent before`,
            )
          : await perform(purpose, stage, over, options);
      results.set(purpose.id, result);
      options.onResult?.(result, purpose);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, options.parallel) }, worker));
  return purposes.map(({ id }) => results.get(id)).filter((result) => result !== undefined);
}

/** Of an expectation that says itself what came, or of which nothing is known but that it does not hold. */
function contraryTo(remarks: readonly string[]): string {
  const last = remarks.at(-1);
  return last === undefined ? "the contrary, with no call before it" : `the contrary; seen last before it: ${last}`;
}

/** Aborted some time after `signal`, for the same reason. */
function after(signal: AbortSignal, ms: number): AbortSignal {
  const late = new AbortController();
  const begin = () => setTimeout(() => late.abort(signal.reason), ms).unref();
  if (signal.aborted) begin();
  else signal.addEventListener("abort", begin, { once: true });
  return late.signal;
}

/** Why the purposes were ended; undefined where they were not. */
function stopText({ stop }: ExecutionOptions): string | undefined {
  return stop?.aborted === true ? (stop.reason as Error).message : undefined;
}

/** The result of a purpose that could not be tried. */
export function notBegun({ id, expected }: Purpose, actual: string): PurposeResult {
  const nothing = { seen: [], steps: [], messages: [], durationMs: 0, leftBehind: [] };
  return { id, verdict: "INCONC", expected: expectationText(expected), actual, onTheWay: true, ...nothing };
}

async function perform(
  purpose: Purpose,
  stage: Stage,
  over: AbortSignal,
  options: ExecutionOptions,
): Promise<PurposeResult> {
  const from = performance.now();
  const signal = AbortSignal.any([over, AbortSignal.timeout(purpose.budgetSeconds * 1000)]);
  const t = new TestCase(purpose, stage, signal, (step) => options.onStep?.(step, purpose));
  let verdict: Verdict = "PASS";
  let expected = expectationText(purpose.expected);
  let actual = "";
  let onTheWay = false;
  let durationMs = 0;
  let leftBehind: string[] = [];
  const strays: unknown[] = [];
  await collectingStrays(strays, async () => {
    try {
      await withinSignal(purpose.run(t), signal);
    } catch (cause) {
      [verdict, actual] = judge(cause);
      // A client's refusals are exit codes: an error thrown here is of a message of the client that cannot be opened or verified.
      onTheWay = stage.bench !== undefined;
      const stopped = stopText(options);
      if (stopped !== undefined && verdict !== "ERROR") {
        verdict = "INCONC";
        actual = stopped;
      } else if (cause instanceof Deviation) {
        expected = cause.message;
        actual = [cause.actual, t.whatHappened()].filter((text) => text !== "").join("; ") || contraryTo(t.remarks);
        onTheWay = cause.onTheWay;
      } else if (signal.aborted && verdict !== "ERROR") {
        verdict = "INCONC";
        actual =
          signal.reason === over.reason
            ? `no verdict before the campaign's budget of ${options.budgetMs / 1000} s was spent`
            : `no verdict within ${purpose.budgetSeconds} s`;
      } else if (cause instanceof Inconclusive) actual = cause.message;
      else if (cause instanceof ConnectError) {
        const call = t.log.callOf(cause);
        if (call !== undefined) actual = `${call.method} to ${call.to}: ${refusalSeen(cause)}`;
        if (stage.bench === undefined && verdict === "FAIL" && t.isOnTheWay(cause)) {
          verdict = "INCONC";
          actual = `on the way to what is asked: ${actual}`;
        }
      }
      // What is not there makes no mistakes.
      if (t.log.calls.at(-1)?.code === codeName(Code.Unimplemented)) onTheWay = true;
    }
    durationMs = performance.now() - from;
    leftBehind = await t.finish();
  });
  // What failed first gave the verdict, and ended what went on beside it. A check that passed has to have awaited all of it.
  if (verdict === "PASS" && strays.length > 0)
    [verdict, actual] = ["ERROR", `the check did not await what it began: ${judge(strays[0])[1]}`];
  const judged = t.steps.flatMap((step) => step.verdict ?? []);
  const wrong = t.steps.find((step) => step.verdict !== undefined && step.verdict === overwrite(judged));
  if (actual === "" && wrong !== undefined && wrong.verdict !== "PASS") actual = `${wrong.id}: ${wrong.seen}`;
  return {
    id: purpose.id,
    verdict: overwrite([verdict, ...judged]) ?? "ERROR",
    expected,
    actual,
    onTheWay,
    seen: t.remarks,
    steps: t.steps,
    messages: t.log.calls,
    durationMs,
    leftBehind,
  };
}
