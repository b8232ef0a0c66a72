// The console report of a campaign: a line for each purpose as its verdict falls; what failed says what was asked, what came, what the
// likely mistake is, and how to see it again.
import { styleText } from "node:util";
import type { PurposeResult } from "../execution.ts";
import type { StepResult } from "../procedures/procedure.ts";
import type { Purpose } from "../purposes/purpose.ts";
import type { Selection } from "../selection.ts";
import type { Verdict } from "../verdict.ts";
import { verdictColours } from "./console.ts";
import type { Report, ReportedPurpose } from "./report.ts";

/** Whoever watches a campaign. */
export interface CampaignReport {
  selection(selection: Selection): void;
  begin(purpose: Purpose): void;
  step(step: StepResult): void;
  result(result: PurposeResult, purpose: Purpose): void;
  summary(report: Report): void;
}

const verdicts: readonly Verdict[] = ["PASS", "FAIL", "INCONC", "ERROR"];

export class CampaignConsole implements CampaignReport {
  readonly #print: (line: string) => void;
  readonly #coloured: boolean;
  #selected = 0;
  #done = 0;

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
  }

  begin(): void {}

  step(): void {}

  result(result: PurposeResult, { id, title }: Purpose): void {
    const place = `${++this.#done}`.padStart(`${this.#selected}`.length);
    const time = `${Math.round(result.durationMs)} ms`.padStart(9);
    this.#print(`${place}/${this.#selected} ${this.#verdict(result.verdict)} ${id.padEnd(22)} ${time}  ${title}`);
    if (result.verdict !== "PASS") this.#print(`      ${result.actual === "" ? result.expected : result.actual}`);
  }

  summary(report: Report): void {
    const { results, target, suite, run } = report;
    for (const each of results.filter(({ verdict }) => verdict !== "PASS")) this.#explain(each);
    this.#print("");
    const entities = target.entities.map(({ role, endpoint }) => `${role} ${endpoint}`).join(", ");
    this.#print(this.#style("bold", `${target.name}: ${entities}; client stack: ${run.client}; seed: ${run.seed}`));
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
    for (const reason of report.reasons) this.#print(`  ${clipped(reason)}`);
    const verdict = report.verdict ?? "INCONC";
    this.#print(
      `${this.#style(verdictColours[verdict], `Verdict: ${report.verdict ?? "none"}`)}, ${report.conformance}, after ${(run.durationMs / 1000).toFixed(1)} s`,
    );
  }

  #explain(each: ReportedPurpose): void {
    const line = (name: string, text: string) => {
      if (text !== "") this.#print(`  ${name.padEnd(15)} ${text}`);
    };
    this.#print("");
    this.#print(`${this.#verdict(each.verdict)} ${this.#style("bold", `${each.id}: ${each.title}`)}`);
    line("clause", each.clause);
    line("initial state", each.initialState);
    line("stimulus", each.stimulus);
    line("expected", each.expected);
    line("actual", each.actual);
    line("seen", each.seen.join("; "));
    for (const { id, verdict, seen } of each.procedure)
      if (verdict !== "PASS" && verdict !== null) line(id, `${verdict} ${seen}`);
    line("likely mistake", each.verdict === "FAIL" ? each.likelyMistake : "");
    line("again", each.reproduce);
  }

  #verdict(verdict: Verdict): string {
    return this.#style(verdictColours[verdict], verdict.padEnd(6));
  }

  #style(colour: Parameters<typeof styleText>[0], text: string): string {
    return this.#coloured ? styleText(colour, text, { validateStream: false }) : text;
  }
}

/** Reasons may name hundreds of items; the JSON report has them all. */
function clipped(text: string): string {
  return text.length <= 400 ? text : `${text.slice(0, 400)} … (all of them in --json)`;
}
