// The report as JSON: written so that the same report gives the same bytes, read back only where the published schema holds.
import { type JsonSchema, violations } from "./json-schema.ts";
import schema from "./report.schema.json" with { type: "json" };
import type { Report } from "./report.ts";

export const reportSchema: JsonSchema = schema;

/** A file that is no report; the message says where and why. */
export class ReportError extends Error {
  override name = "ReportError";
}

export function reportJson(report: Report): string {
  return `${JSON.stringify(report, undefined, 2)}\n`;
}

/** @throws ReportError where the text is no JSON, or the schema does not hold */
export function parseReport(text: string, place = "report"): Report {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ReportError(`${place} is not JSON: ${(cause as Error).message}`);
  }
  const [first, ...others] = violations(reportSchema, value);
  if (first === undefined) return value as Report;
  throw new ReportError(
    `${place} is no conformance report: ${first}${others.length > 0 ? `, and ${others.length} more` : ""}`,
  );
}
