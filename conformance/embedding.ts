// The kit inside a test runner, such as Vitest or node:test: one test for each purpose, all of one campaign.
import { type CampaignOptions, campaign } from "./campaign.ts";
import type { ClientStack } from "./channels.ts";
import { clientRoleOf, openClientTarget } from "./clients/client-target.ts";
import { openTarget } from "./commands/open-target.ts";
import { type ExpectedFailures, readExpectedFailures } from "./expected-failures.ts";
import type { Harness } from "./harness/harness.ts";
import { type Pics, readPics } from "./pics.ts";
import type { Purpose } from "./purposes/purpose.ts";
import { failureText } from "./report/failure-text.ts";
import type { Report } from "./report/report.ts";
import { type ReportFiles, writeReportFiles } from "./report/report-files.ts";
import { type Filters, select } from "./selection.ts";
import { Stage } from "./stage.ts";
import { purposes } from "./suite.ts";
import { type EntityRole, entityRoles, readTargetSettings, type TargetSettings, type TestedRole } from "./target.ts";

/** What a test of the runner is told. In Vitest `skip` throws, in node:test it does not. */
export interface TestContext {
  skip(why?: string): void;
}

/** The part of a test runner that is needed: `test` and `afterAll` of Vitest, `test` and `after` of node:test. */
export interface TestRunner {
  test(name: string, options: { readonly timeout: number }, check: (context: TestContext) => Promise<void>): unknown;
  afterAll(close: () => Promise<void>): unknown;
}

/** An implementation that the tests start themselves. */
export interface TargetFactory {
  /** What is under test. */
  readonly entities: readonly EntityRole[];
  start(): Promise<StartedTarget>;
}

export interface StartedTarget {
  readonly settings: TargetSettings;
  /** The kit's own peers, where they stand around the implementation. */
  readonly harness?: Harness;
  /** Statements; default: those of the options. */
  readonly pics?: readonly Pics[];
  close(): Promise<void>;
}

export interface EmbeddingOptions extends ReportFiles {
  /** A target file, of servers or of a user's side, or what starts the implementation. */
  readonly target: string | TargetFactory;
  /** Starts the implementation of a target file. */
  readonly command?: string;
  readonly filters?: Filters;
  /** Files with the statements; default: all that is mandatory is claimed. */
  readonly pics?: readonly string[];
  /** File with ids of known failures, which must still fail. */
  readonly expectedFailures?: string;
  /** Default "grpc". */
  readonly client?: ClientStack;
  /** Makes data and mutations; default "1410". */
  readonly seed?: string;
  /** Default 4. */
  readonly parallel?: number;
  /** For the whole campaign; default 1800. */
  readonly budgetSeconds?: number;
  /** Size of the subscriber records that procedures share; default 3 MiB. */
  readonly recordBytes?: number;
}

/**
 * Defines a test for each purpose of the entities under test, and a last one for the conclusion: what was claimed and not tested fails it.
 * The campaign begins with the first test that runs; a purpose that does not apply is skipped with its reason.
 * @throws TargetError, ExpectedFailuresError, PicsError where a file cannot be used
 */
export async function conformanceTests(runner: TestRunner, options: EmbeddingOptions): Promise<void> {
  const { target, filters = {} } = options;
  const entities = new Set<TestedRole>(typeof target === "string" ? await entitiesOf(target) : target.entities);
  const known = new Set(purposes.map(({ id }) => id));
  const expected: ExpectedFailures =
    options.expectedFailures === undefined ? new Map() : await readExpectedFailures(options.expectedFailures, known);
  const pics = await Promise.all((options.pics ?? []).map(readPics));
  const performance = new Performance(options, expected, pics);
  const timeout = (options.budgetSeconds ?? 1_800) * 1000 + 60_000;
  const { filtered } = select(purposes, { underTest: entities, harness: true, pics: new Map() }, filters);
  const concerned = ({ id, involves }: Purpose) =>
    !filtered.includes(id) && involves.length > 0 && involves.every((role) => entities.has(role));
  for (const { id, title } of purposes.filter(concerned))
    runner.test(`${id} ${title}`, { timeout }, async (context) => {
      const report = await performance.report();
      const omitted = [...report.notApplicable, ...report.outOfReach].find((one) => one.id === id);
      if (omitted !== undefined) return context.skip(omitted.reason);
      judge(id, report, expected);
    });
  runner.test("conformance", { timeout }, async () => {
    const { exitCode, conformance, reasons } = await performance.report();
    if (exitCode !== 0) throw new ConformanceError([`${conformance}:`, ...reasons].join("\n"));
  });
  runner.afterAll(() => performance.close());
}

/** A verdict other than PASS; the message is all that the report has of it. */
export class ConformanceError extends Error {
  override name = "ConformanceError";
}

function judge(id: string, report: Report, expected: ExpectedFailures): void {
  const result = report.results.find((one) => one.id === id);
  if (result === undefined) throw new ConformanceError(`${id} was not performed`);
  if (result.verdict === "PASS" && expected.has(id))
    throw new ConformanceError(`${id} was expected to fail, and passed`);
  if (result.verdict === "PASS" || (result.verdict === "FAIL" && expected.has(id))) return;
  throw new ConformanceError(failureText(result, report));
}

async function entitiesOf(file: string): Promise<TestedRole[]> {
  const client = await clientRoleOf(file);
  if (client !== undefined) return [client];
  const { entities } = await readTargetSettings(file);
  return entityRoles.filter((role) => entities[role] !== undefined);
}

/** One campaign for all tests of a file. */
class Performance {
  readonly #options: EmbeddingOptions;
  readonly #expected: ExpectedFailures;
  readonly #pics: readonly Pics[];
  #report: Promise<Report> | undefined;

  constructor(options: EmbeddingOptions, expected: ExpectedFailures, pics: readonly Pics[]) {
    this.#options = options;
    this.#expected = expected;
    this.#pics = pics;
  }

  report(): Promise<Report> {
    this.#report ??= this.#perform();
    return this.#report;
  }

  /** Waits for the campaign, if one began; whoever fails by it has said so. */
  async close(): Promise<void> {
    await this.#report?.catch(() => {});
  }

  async #perform(): Promise<Report> {
    const { target, filters = {}, parallel = 4, budgetSeconds = 1_800, seed = "1410" } = this.#options;
    const { stage, pics, close } = await this.#open();
    const place = typeof target === "string" ? ` --target ${target}` : "";
    const campaignOptions: CampaignOptions = {
      purposes,
      filters,
      pics,
      expectedFailures: this.#expected,
      parallel,
      budgetMs: budgetSeconds * 1000,
      reproduce: (id) => `npx x1410 conformance run --id ${id}${place} --seed ${seed}`,
    };
    try {
      const report = await campaign(stage, campaignOptions);
      await writeReportFiles(report, this.#options);
      return report;
    } finally {
      await close();
    }
  }

  async #open(): Promise<{ stage: Stage; pics: readonly Pics[]; close(): Promise<void> }> {
    const { target, client = "grpc", seed = "1410", recordBytes = 3 * 1024 * 1024 } = this.#options;
    const { command, pics: files = [] } = this.#options;
    const role = typeof target === "string" ? await clientRoleOf(target) : undefined;
    if (typeof target === "string" && role !== undefined)
      return openClientTarget({ role, file: target, pics: files, command, client, seed, recordBytes });
    if (typeof target === "string")
      return openTarget({ file: target, reference: [], pics: files, command, client, seed, recordBytes });
    const started = await target.start();
    try {
      const stage = new Stage(started.settings, started.harness, { client, seed, recordBytes });
      return { stage, pics: this.#pics.length > 0 ? this.#pics : (started.pics ?? []), close: () => started.close() };
    } catch (cause) {
      await started.close();
      throw cause;
    }
  }
}
