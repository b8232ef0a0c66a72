// The console report of a run of procedures alone: every step on a line of its own, in the words of the figure.
import type { PurposeResult } from "../execution.ts";
import type { ProcedureId, ProcedureResult, StepResult } from "../procedures/procedure.ts";
import type { Purpose } from "../purposes/purpose.ts";
import type { CampaignReport } from "./campaign-console.ts";
import type { ConsoleReport } from "./console.ts";
import type { Report } from "./report.ts";

export class ProcedureConsole implements CampaignReport {
  readonly #console: ConsoleReport;
  readonly #procedures: ProcedureResult[] = [];
  readonly #problems: string[] = [];

  constructor(console: ConsoleReport) {
    this.#console = console;
  }

  selection(): void {}

  begin({ component, clause, title }: Purpose): void {
    this.#console.procedure({ id: component as ProcedureId, clause, title });
  }

  step(step: StepResult): void {
    this.#console.step(step);
  }

  result({ steps, actual }: PurposeResult, { component, clause, title }: Purpose): void {
    this.#procedures.push({ id: component as ProcedureId, clause, title, steps });
    if (steps.length === 0) this.#problems.push(actual);
  }

  summary(report: Report): void {
    this.#console.summary(
      {
        target: report.target.name,
        client: report.run.client,
        procedures: this.#procedures,
        verdict: report.verdict ?? undefined,
        leftBehind: report.leftBehind,
        problems: [...new Set(this.#problems)],
      },
      report.run.durationMs / 1000,
    );
  }
}
