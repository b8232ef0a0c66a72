// A campaign (ISO/IEC 9646): static conformance review, selection by PICS, performance, report.
import type { ClientBench } from "./clients/client-bench.ts";
import { mainCommand } from "./clients/command-template.ts";
import { conclude } from "./conclusion.ts";
import { unobservable } from "./coverage.ts";
import { execute, notBegun, type PurposeResult } from "./execution.ts";
import type { ExpectedFailures } from "./expected-failures.ts";
import { frozenDigest } from "./frozen-suite.ts";
import { ImplementationError } from "./implementation-process.ts";
import { kitVersion } from "./kit-version.ts";
import { mandatoryOnly, type Pics, proforma, staticReview } from "./pics.ts";
import { preflight } from "./preflight.ts";
import type { StepResult } from "./procedures/procedure.ts";
import type { Purpose } from "./purposes/purpose.ts";
import {
  type Report,
  type ReportedEntity,
  type ReportedPurpose,
  type ReportedStatement,
  reportFormat,
} from "./report/report.ts";
import {
  type Filters,
  isFiltered,
  itemsOf,
  type Selection,
  type Situation,
  select,
  statusOf,
  untested,
} from "./selection.ts";
import type { Stage } from "./stage.ts";
import { profile, recommendation, suiteHash, suiteVersion } from "./suite.ts";
import type { TestedRole } from "./target.ts";

export interface CampaignOptions {
  readonly purposes: readonly Purpose[];
  readonly filters: Filters;
  /** Statements of the supplier; for an entity without one, all that is mandatory is taken for claimed. */
  readonly pics: readonly Pics[];
  readonly expectedFailures: ExpectedFailures;
  readonly parallel: number;
  readonly budgetMs: number;
  /** Ends the campaign before its time; see `ExecutionOptions`. */
  readonly stop?: AbortSignal;
  /** The command that performs one purpose alone. */
  readonly reproduce: (id: string) => string;
  onSelection?(selection: Selection): void;
  onBegin?(purpose: Purpose): void;
  onStep?(step: StepResult, purpose: Purpose): void;
  onResult?(result: PurposeResult, purpose: Purpose): void;
}

/** Performs the purposes on the stage, and closes the stage. */
export async function campaign(stage: Stage, options: CampaignOptions): Promise<Report> {
  const { purposes, filters, expectedFailures: expected } = options;
  const startedAt = new Date();
  const from = performance.now();
  const { underTest } = stage.target;
  const given = new Map(options.pics.map((one) => [one.entity, one] as const));
  const pics = new Map([...underTest].map((role) => [role, given.get(role) ?? mandatoryOnly(role)] as const));
  const situation: Situation = {
    underTest,
    harness: stage.harness !== undefined,
    pics,
    ...(stage.bench && { commands: stage.bench.commands }),
  };
  const selection = select(purposes, situation, filters);
  options.onSelection?.(selection);
  const { bench } = stage;
  const entities = bench === undefined ? await preflight(stage.target) : [reportedClient(bench)];
  const away = new Map(entities.filter(({ reached }) => !reached).map(({ role, problem }) => [role, problem] as const));
  const results = await perform(stage, selection.selected, away, options);
  const leftBehind = [...results.flatMap((result) => result.leftBehind), ...(await stage.close())];
  const findings = [...pics.values()].flatMap(staticReview);
  const missing = untested(tested(selection.selected, results), unobservable, situation);
  const filtered = isFiltered(filters);
  const end = options.stop?.aborted === true ? (options.stop.reason as Error) : undefined;
  return {
    format: reportFormat,
    kit: { version: kitVersion() },
    suite: {
      version: suiteVersion,
      hash: suiteHash(purposes),
      recommendation,
      profile,
      purposes: purposes.length,
      frozen: frozenDigest(suiteVersion, purposes),
    },
    target: {
      name: stage.target.name,
      entities,
      ...(bench && {
        commands: Object.entries(bench.settings.commands).map(([name, template]) => ({ name, template })),
      }),
    },
    run: {
      startedAt: startedAt.toISOString(),
      durationMs: performance.now() - from,
      client: stage.options.client,
      seed: stage.options.seed,
      parallel: options.parallel,
      filtered,
      ...(end && { ended: endText(end) }),
    },
    ...conclude({ selection, results, findings, untested: missing, filtered, expected }),
    staticReview: findings,
    statements: [...pics.values()].map((one) => statement(one, given.has(one.entity))),
    results: results.map((result, index) =>
      reported(selection.selected[index] as Purpose, result, options.reproduce(result.id)),
    ),
    notApplicable: selection.notApplicable,
    outOfReach: selection.outOfReach,
    filteredOut: selection.filtered,
    untested: missing,
    leftBehind,
  };
}

/** Why the campaign ended before its time, said once. */
function endText(end: Error): string {
  const lastWords = end instanceof ImplementationError ? end.lastWords : "";
  return lastWords === "" ? end.message : `${end.message}; its last words: ${lastWords}`;
}

/** A user's side has no endpoint; each purpose gives it a certificate of its own. */
function reportedClient({ settings: { role, commands } }: ClientBench): ReportedEntity {
  const nothing = { protocol: "", cipher: "", certificateSha256: "", problem: "" };
  return {
    role,
    endpoint: commands[mainCommand[role]] ?? "",
    identity: `urn:x1410:user:kit-${role}-*`,
    reached: true,
    ...nothing,
  };
}

/** In the order of the purposes. What involves an entity that cannot be reached is not tried: it would only wait. */
async function perform(
  stage: Stage,
  selected: readonly Purpose[],
  away: ReadonlyMap<TestedRole, string>,
  options: CampaignOptions,
): Promise<PurposeResult[]> {
  const problemOf = ({ involves }: Purpose) =>
    involves.map((role) => away.get(role)).find((text) => text !== undefined);
  const lost = new Map<string, PurposeResult>();
  for (const purpose of selected) {
    const problem = problemOf(purpose);
    if (problem === undefined) continue;
    const result = notBegun(purpose, problem);
    lost.set(purpose.id, result);
    options.onResult?.(result, purpose);
  }
  const tried = await execute(
    selected.filter(({ id }) => !lost.has(id)),
    stage,
    options,
  );
  const results = new Map([...lost, ...tried.map((result) => [result.id, result] as const)]);
  return selected.flatMap(({ id }) => results.get(id) ?? []);
}

/** Items that a purpose has tested. Of a replayed procedure, only the steps that something showed. */
function tested(selected: readonly Purpose[], results: readonly PurposeResult[]): ReadonlySet<string> {
  const items = selected.flatMap((purpose, index) => {
    const hidden = results[index]?.steps.filter(({ verdict }) => verdict === undefined).map(({ id }) => id) ?? [];
    return itemsOf(purpose).filter((item) => !hidden.includes(item));
  });
  return new Set(items);
}

function statement({ entity, implementation, supported }: Pics, given: boolean): ReportedStatement {
  const items = proforma(entity).map(({ item }) => item);
  return {
    entity,
    implementation,
    given,
    supported: items.filter((item) => supported.has(item)),
    unsupported: items.filter((item) => !supported.has(item)),
  };
}

function reported(purpose: Purpose, result: PurposeResult, reproduce: string): ReportedPurpose {
  const { id, entity, component, kind, title, clause, steps, capabilities, methods } = purpose;
  const { initialState, stimulus, twin = "", diagram, likelyMistake = "" } = purpose;
  const { verdict, expected, actual, onTheWay, seen, durationMs, messages } = result;
  return {
    id,
    entity,
    component,
    kind,
    status: statusOf(purpose),
    title,
    clause,
    steps,
    capabilities,
    methods,
    initialState,
    stimulus,
    twin,
    diagram,
    likelyMistake: onTheWay ? "" : likelyMistake,
    verdict,
    expected,
    actual,
    seen,
    durationMs,
    reproduce,
    procedure: result.steps.map((step) => ({ ...step, verdict: step.verdict ?? null })),
    messages,
  };
}
