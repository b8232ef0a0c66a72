// What `x1410 conformance run` is told on the command line.
import type { ClientStack } from "../channels.ts";
import type { ReportFiles } from "../report/report-files.ts";
import type { ClientRole, EntityRole } from "../target.ts";
import type { FilterOptions } from "./filters.ts";

export const procedureIds = ["F3", "F4", "A1", "A2"];

export const defaultMib = 3;

export interface RunOptions extends FilterOptions, ReportFiles {
  readonly target?: string;
  readonly for?: ClientRole;
  readonly reference: EntityRole[];
  readonly command?: string;
  readonly client: ClientStack;
  readonly pics: string[];
  readonly procedures?: true;
  readonly procedure?: string[];
  readonly expectedFailures?: string;
  readonly parallel: number;
  readonly budget: number;
  readonly seed: string;
  readonly mib: number;
}
