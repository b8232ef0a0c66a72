// The report that a person reads while it grows: one line for each step, in the words of the figure.
import { styleText } from "node:util";
import type { ProcedureResult, StepResult } from "../procedures/procedure.ts";
import type { Verdict } from "../verdict.ts";

type Colour = Parameters<typeof styleText>[0];

export const verdictColours: Readonly<Record<Verdict, Colour>> = {
  PASS: "green",
  FAIL: "red",
  INCONC: "yellow",
  ERROR: "magenta",
};

export interface ReplaySummary {
  readonly target: string;
  readonly client: string;
  readonly procedures: readonly ProcedureResult[];
  readonly verdict: Verdict | undefined;
  /** What could not be taken away from the target afterwards. */
  readonly leftBehind: readonly string[];
  /** Why a procedure was not begun. */
  readonly problems: readonly string[];
}

export class ConsoleReport {
  readonly #print: (line: string) => void;
  readonly #coloured: boolean;

  constructor(print: (line: string) => void, coloured: boolean) {
    this.#print = print;
    this.#coloured = coloured;
  }

  procedure({ id, clause, title }: Pick<ProcedureResult, "id" | "clause" | "title">): void {
    this.#print("");
    this.#print(this.#style("bold", `${figureOf(id)}, clause ${clause}: ${title}`));
  }

  step({ id, arrow, what, visibility, verdict, seen }: StepResult): void {
    const mark =
      verdict === undefined ? this.#style("dim", "  ––  ") : this.#style(verdictColours[verdict], verdict.padEnd(6));
    const how = { observed: "", consequence: "shown by its consequence: ", unobservable: "not observable: " }[
      visibility
    ];
    this.#print(`  ${mark} ${id.padEnd(8)} ${arrow.padEnd(18)} ${what}`);
    if (seen !== "") this.#print(this.#style("dim", `                  ${how}${seen}`));
  }

  summary(result: ReplaySummary, seconds: number): void {
    this.#print("");
    this.#print(this.#style("bold", `Target: ${result.target}; client stack: ${result.client}`));
    for (const { id, title, steps } of result.procedures) {
      const count = (verdict: Verdict | undefined) => steps.filter((step) => step.verdict === verdict).length;
      const others = (["FAIL", "INCONC", "ERROR"] as const).filter((verdict) => count(verdict) > 0);
      const shown = steps.filter(({ visibility }) => visibility === "consequence").length;
      const parts = [
        `${count("PASS")} passed (${shown} of them by their consequence)`,
        ...others.map((verdict) => this.#style(verdictColours[verdict], `${count(verdict)} ${verdict}`)),
        ...(count(undefined) > 0 ? [`${count(undefined)} not observable`] : []),
      ];
      this.#print(`  ${figureOf(id).padEnd(10)} ${parts.join(", ")} – ${title}`);
    }
    for (const problem of result.problems) this.#print(this.#style("yellow", `  ${problem}`));
    for (const left of result.leftBehind) this.#print(this.#style("yellow", `  left on the target: ${left}`));
    const verdict = result.verdict ?? "INCONC";
    this.#print(`${this.#style(verdictColours[verdict], `Verdict: ${verdict}`)} after ${seconds.toFixed(1)} s`);
  }

  #style(colour: Colour, text: string): string {
    return this.#coloured ? styleText(colour, text, { validateStream: false }) : text;
  }
}

function figureOf(id: ProcedureResult["id"]): string {
  return { F3: "Figure 3", F4: "Figure 4", A1: "Annex A.1", A2: "Annex A.2" }[id];
}
