// Desensitization of raw data (P1; F3.1, A1.1): what a data provider does before anything is encrypted and shared.
import type { KeyObject } from "node:crypto";
import { byteText } from "./byte-text.ts";
import { desensitizeCsv } from "./csv-desensitizer.ts";
import { desensitizeJsonLines } from "./json-lines-desensitizer.ts";
import { pathTree } from "./json-path.ts";
import { type DesensitizationReport, planOf, reportOf } from "./plan.ts";
import { generatePseudonymizationKey } from "./pseudonymization-key.ts";
import { checkRules, type DesensitizationRules, type Format } from "./rules.ts";

/** The longest record taken unless said otherwise. */
export const MAX_RECORD_BYTES = 1 << 20;

export interface DesensitizeOptions {
  readonly format: Format;
  /** What pseudonyms are made with; by default a key that is forgotten after the run. */
  readonly pseudonymizationKey?: KeyObject;
  readonly maxRecordBytes?: number;
}

export interface Desensitized {
  /** To be read once. It is complete, and fit for use, only when the iteration ends without an error. */
  readonly output: AsyncIterable<Uint8Array>;
  /** Settles with `output`: rejects where that fails or is given up. */
  readonly report: Promise<DesensitizationReport>;
}

/**
 * Treats `input` by `rules`, in constant memory. Bytes that no rule touches pass unchanged. Throws `DesensitizationError`,
 * `rule_file` at once and everything else from `output`; no text of an error holds a value of the input.
 */
export function desensitize(
  input: AsyncIterable<Uint8Array>,
  rules: DesensitizationRules,
  options: DesensitizeOptions,
): Desensitized {
  checkRules(rules);
  const { format, maxRecordBytes = MAX_RECORD_BYTES } = options;
  const plan = planOf(rules, format, options.pseudonymizationKey ?? generatePseudonymizationKey());
  const treated =
    format === "csv"
      ? desensitizeCsv(byteText(input), plan, { delimiter: rules.delimiter ?? ",", maxRecordBytes })
      : desensitizeJsonLines(byteText(input), plan, pathTree(plan.targets), { maxRecordBytes });
  const { promise, resolve, reject } = Promise.withResolvers<DesensitizationReport>();
  // Whoever reads only the output learns of a failure there.
  promise.catch(() => undefined);
  async function* output(): AsyncGenerator<Uint8Array, void> {
    try {
      for await (const text of treated) yield Buffer.from(text, "latin1");
      resolve(reportOf(plan, format));
    } catch (error) {
      reject(error);
      throw error;
    } finally {
      reject(new Error("the output was not read to its end"));
    }
  }
  return { output: output(), report: promise };
}
