// The console report of a campaign: a line for each purpose as its verdict falls; what failed says what was asked, what came, what the
// likely mistake is, and how to see it again.
import { styleText } from "node:util";
import { untestedReason } from "../conclusion.ts";
import type { PurposeResult } from "../execution.ts";
import type { StepResult } from "../procedures/procedure.ts";
import type { Purpose } from "../purposes/purpose.ts";
import type { Selection } from "../selection.ts";
import type { Verdict } from "../verdict.ts";
import { verdictColours } from "./console.ts";
import { entitiesOf, messagesText, tlsText } from "./failure-text.ts";
import type { Report, ReportedPurpose } from "./report.ts";
import { requirementsOf } from "./requirement.ts";

/** Whoever watches a campaign. */
export interface CampaignReport {
  selection(selection: Selection): void;
  begin(purpose: Purpose): void;
  step(step: StepResult): void;
  result(result: PurposeResult, purpose: Purpose): void;
  summary(report: Report): void;
}

/** Of a failure on the console; the other reports have more. */
const LAST_CALLS = 2;
const LONGEST_MESSAGE = 240;

const verdicts: readonly Verdict[] = ["PASS", "FAIL", "INCONC", "ERROR"];

export class CampaignConsole implements CampaignReport {
  readonly #print: (line: string) => void;
  readonly #coloured: boolean;
  #selected = 0;
  #done = 0;
  /** Why purposes were inconclusive so far. */
  readonly #causes = new Set<string>();

  constructor(print: (line: string) => void, coloured: boolean) {
    this.#print = print;
    this.#coloured = coloured;
  }

  selection({ selected, notApplicable, outOfReach, filtered }: Selection): void {
    this.#selected = selected.length;
    const others = [
      `${notApplicable.length} not applicable`,
      `${outOfReach.length} out of reach`,
      `${filtered.length} filtered out`,
    ];
    this.#print(this.#style("bold", `${selected.length} test purposes; ${others.join(", ")}`));
    if (selected.length > 0) return;
    this.#print("  Nothing is left to perform:");
    for (const [reason, some] of Map.groupBy([...outOfReach, ...notApplicable], (each) => each.reason))
      this.#print(`  ${countedText(some.map(({ id }) => id))}: ${reason}`);
    if (outOfReach.length + notApplicable.length === 0) this.#print("  no purpose fits the filters; list names them");
  }

  begin(): void {}

  step(): void {}

  result(result: PurposeResult, { id, title }: Purpose): void {
    const why = result.actual === "" ? result.expected : result.actual;
    const before = this.#causes.has(why);
    this.#done++;
    if (result.verdict === "INCONC") this.#causes.add(why);
    // Of what was never begun, once is enough; the summary says how many there are.
    if (result.verdict === "INCONC" && before && result.durationMs === 0) return;
    const place = `${this.#done}`.padStart(`${this.#selected}`.length);
    const time = `${Math.round(result.durationMs)} ms`.padStart(9);
    this.#print(`${place}/${this.#selected} ${this.#verdict(result.verdict)} ${id.padEnd(22)} ${time}  ${title}`);
    if (result.verdict !== "PASS") this.#print(`      ${beginningOf(why)}`);
  }

  summary(report: Report): void {
    const { results, target, suite, run } = report;
    for (const [first, ...others] of byCause(results.filter(({ verdict }) => verdict !== "PASS")))
      if (others.length === 0) this.#explain(first, report);
      else this.#explainTogether([first, ...others]);
    this.#print("");
    const entities = target.entities.map(({ role, endpoint }) => `${role} ${endpoint}`).join(", ");
    this.#print(this.#style("bold", `${target.name}: ${entities}; client stack: ${run.client}; seed: ${run.seed}`));
    if (run.ended !== undefined) this.#print(this.#style("yellow", `  ${run.ended}`));
    for (const { role, problem } of target.entities) if (problem !== "") this.#print(`  ${role}: ${problem}`);
    const list = suite.frozen === "" ? "not frozen" : `frozen as ${suite.frozen.slice(0, 16)}`;
    this.#print(
      `  suite ${suite.version} (${suite.hash.slice(0, 16)}, ${list}), ${suite.recommendation}, ${suite.profile}`,
    );
    for (const entity of new Set(results.map((each) => each.entity))) {
      const own = results.filter((each) => each.entity === entity);
      const counts = verdicts
        .map((verdict) => ({ verdict, count: own.filter((each) => each.verdict === verdict).length }))
        .filter(({ count }) => count > 0)
        .map(({ verdict, count }) => this.#style(verdictColours[verdict], `${count} ${verdict}`));
      this.#print(`  ${entity.padEnd(5)} ${counts.join(", ")}`);
    }
    for (const { entity, item, text } of report.staticReview) this.#print(`  PICS ${entity} ${item}: ${text}`);
    for (const left of report.leftBehind) this.#print(this.#style("yellow", `  left on the target: ${left}`));
    // Of a part that somebody chose, what else is claimed says nothing.
    const isTold = (reason: string) => !(claimsNothing(report) && reason.startsWith(untestedReason));
    for (const reason of report.reasons.filter(isTold)) this.#print(`  ${clipped(reason)}`);
    const verdict = report.verdict ?? "INCONC";
    const claim = claimsNothing(report) ? "partial: the selected purposes passed; no claim" : report.conformance;
    this.#print(
      `${this.#style(verdictColours[verdict], `Verdict: ${report.verdict ?? "none"}`)}, ${claim}, after ${(run.durationMs / 1000).toFixed(1)} s`,
    );
  }

  #explainTogether(some: readonly [ReportedPurpose, ...ReportedPurpose[]]): void {
    const [{ verdict, actual, reproduce }] = some;
    this.#print("");
    this.#print(
      `${this.#verdict(verdict)} ${this.#style("bold", countedText(some.map(({ id }) => id)))}, all for one cause`,
    );
    this.#print(`  ${"actual".padEnd(15)} ${actual}`);
    this.#print(`  ${"the first again".padEnd(15)} ${reproduce}`);
  }

  #explain(each: ReportedPurpose, report: Report): void {
    const line = (name: string, text: string) => {
      if (text !== "") this.#print(`  ${name.padEnd(15)} ${text}`);
    };
    this.#print("");
    this.#print(`${this.#verdict(each.verdict)} ${this.#style("bold", `${each.id}: ${each.title}`)}`);
    line("clause", each.clause);
    for (const { id, what } of requirementsOf(each)) line("requirement", `${id} ${what}`);
    line("initial state", each.initialState);
    line("stimulus", each.stimulus);
    line("expected", each.expected);
    line("actual", each.actual);
    line("seen", each.seen.join("; "));
    for (const { id, verdict, seen } of each.procedure)
      if (verdict !== "PASS" && verdict !== null) line(id, `${verdict} ${seen}`);
    line("likely mistake", each.verdict === "FAIL" ? each.likelyMistake : "");
    if (each.verdict === "FAIL") {
      if (each.capabilities.some((item) => item.startsWith("AAC")))
        for (const entity of entitiesOf(each, report)) line("TLS", tlsText(entity));
      for (const text of messagesText(each.messages, LAST_CALLS, LONGEST_MESSAGE)) this.#print(`  ${text}`);
    }
    line("again", each.reproduce);
  }

  #verdict(verdict: Verdict): string {
    return this.#style(verdictColours[verdict], verdict.padEnd(6));
  }

  #style(colour: Parameters<typeof styleText>[0], text: string): string {
    return this.#coloured ? styleText(colour, text, { validateStream: false }) : text;
  }
}

/** Whether all that a filter left has passed. */
function claimsNothing({ conformance, verdict, run }: Report): boolean {
  return run.filtered && conformance === "partial" && verdict === "PASS";
}

/** The summary has the whole. */
function beginningOf(text: string): string {
  return text.length <= 300 ? text : `${text.slice(0, 300)} …`;
}

/** So many ids say what is meant. */
const SHOWN_IDS = 10;

/** e.g. "40 purposes (TP/KSS/KSM/BV-01, TP/KSS/KSM/BV-02 and 38 more)" */
function countedText(ids: readonly string[]): string {
  const more = ids.length > SHOWN_IDS ? ` and ${ids.length - SHOWN_IDS} more` : "";
  return `${ids.length} ${ids.length === 1 ? "purpose" : "purposes"} (${ids.slice(0, SHOWN_IDS).join(", ")}${more})`;
}

/** What has one cause together, where the first of them stands: what is inconclusive, and failures that no mistake of their own explains. */
function byCause(results: readonly ReportedPurpose[]): Iterable<[ReportedPurpose, ...ReportedPurpose[]]> {
  const groups = Map.groupBy(results, ({ id, verdict, actual, likelyMistake }) =>
    verdict === "INCONC" ? actual : verdict === "FAIL" && likelyMistake === "" ? `FAIL ${actual}` : id,
  );
  return groups.values() as Iterable<[ReportedPurpose, ...ReportedPurpose[]]>;
}

/** Reasons may list hundreds of items; the JSON report has them all. */
function clipped(text: string): string {
  const { head = "", list = "" } = /^(?<head>[^:]*: )(?<list>.*)$/s.exec(text)?.groups ?? {};
  const items = list.split(", ");
  if (items.length <= SHOWN_IDS) return text;
  const rest = items.length - SHOWN_IDS;
  return `${head}${items.length}, ${items.slice(0, SHOWN_IDS).join(", ")} and ${rest} more: the JSON report (--json) has all`;
}
