/** Every way in which desensitization refuses, by a stable code. */
export const DESENSITIZATION_ERROR_MEANINGS = {
  rule_file: "the rules are not as they should be",
  missing_column: "a rule names a column that the header does not have",
  unmatched_path: "a rule names a path that no record has",
  malformed_record: "the input is not well-formed",
  unsuitable_value: "a rule names an object or an array, where only drop applies",
  record_too_long: "a record is longer than allowed",
  not_utf8: "a field that a rule names is not UTF-8",
  unreadable_input: "the input cannot be read",
  output_exists: "the output file is there already",
  key_file: "the file of the pseudonymization key cannot be used",
} as const;

/** Closed set of refusal codes. */
export type DesensitizationErrorCode = keyof typeof DESENSITIZATION_ERROR_MEANINGS;

/**
 * A refusal by desensitization. `code` is stable, `line` is the input line (from 1) on which the record in question
 * begins. The text names lines, columns and paths, never a value of the input.
 */
export class DesensitizationError extends Error {
  readonly code: DesensitizationErrorCode;
  readonly line: number | undefined;
  /** The message without meaning and line. */
  readonly particulars: string;

  constructor(code: DesensitizationErrorCode, particulars: string, line?: number) {
    const place = line === undefined ? "" : ` (line ${line})`;
    super(`${DESENSITIZATION_ERROR_MEANINGS[code]}${place}: ${particulars}`);
    this.name = "DesensitizationError";
    this.code = code;
    this.line = line;
    this.particulars = particulars;
  }
}
