// What the page shows of every catalogue id: the verdict that remains of all that showed it, or why there is none.
import { CAPABILITIES, STEPS } from "../../catalogue.ts";
import { unobservable } from "../../coverage.ts";
import { overwrite, type Verdict } from "../../verdict.ts";
import type { Report, ReportedPurpose, ReportedStep } from "../report.ts";

/** A verdict; `HIDDEN`: nothing outside can show it; `UNTESTED`: nothing that was performed shows it. */
export type Shown = Verdict | "HIDDEN" | "UNTESTED";

export interface ShownItem {
  readonly id: string;
  readonly clause: string;
  readonly what: string;
  readonly shown: Shown;
  /** Of a step: as procedures were replayed. */
  readonly replayed: readonly ReplayedStep[];
  /** Other purposes that show it. */
  readonly purposes: readonly ReportedPurpose[];
  /** Why nothing can show it. */
  readonly reason: string;
}

export interface ReplayedStep {
  readonly purpose: ReportedPurpose;
  readonly step: ReportedStep;
}

export function shownSteps({ results }: Report): ReadonlyMap<string, ShownItem> {
  return new Map(
    STEPS.map(({ id, clause, what }) => {
      const naming = results.filter(({ steps }) => steps.includes(id));
      const replayed = naming.flatMap((purpose) =>
        purpose.procedure.filter((step) => step.id === id).map((step) => ({ purpose, step })),
      );
      // A replay that never began has no steps: its own verdict stands for all of its figure.
      const purposes = naming.filter(({ procedure }) => procedure.length === 0);
      const verdicts = [
        ...replayed.flatMap(({ step }) => step.verdict ?? []),
        ...purposes.map(({ verdict }) => verdict),
      ];
      const shown = overwrite(verdicts) ?? (replayed.length > 0 ? "HIDDEN" : "UNTESTED");
      return [id, { id, clause, what, shown, replayed, purposes, reason: unobservable.get(id) ?? "" }] as const;
    }),
  );
}

export function shownCapabilities({ results }: Report): ReadonlyMap<string, ShownItem> {
  return new Map(
    CAPABILITIES.map(({ id, clause, what }) => {
      const purposes = results.filter(({ capabilities }) => capabilities.includes(id));
      const reason = unobservable.get(id) ?? "";
      const shown = overwrite(purposes.map(({ verdict }) => verdict)) ?? (reason === "" ? "UNTESTED" : "HIDDEN");
      return [id, { id, clause, what, shown, replayed: [], purposes, reason }] as const;
    }),
  );
}
