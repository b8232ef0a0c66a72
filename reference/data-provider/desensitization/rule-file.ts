import { readFileSync } from "node:fs";
import { parseDocument } from "yaml";
import { DesensitizationError, type DesensitizationErrorCode } from "./desensitization-error.ts";
import { checkRules, type DesensitizationRules } from "./rules.ts";

/** The rules in a file's text, YAML 1.2 or JSON; refuses with `rule_file`, naming line or place. */
export function parseRules(source: string): DesensitizationRules {
  const document = parseDocument(source, { prettyErrors: true });
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) {
    const line = problem.linePos?.[0].line ?? 1;
    // Its first line, without the place that it ends with: below it is what stands in the file.
    const what = (problem.message.split("\n")[0] ?? "").replace(/ at line \d+, column \d+:?$/, "");
    throw new DesensitizationError("rule_file", `line ${line} is not YAML: ${what}`);
  }
  const rules = plain(document);
  checkRules(rules);
  return rules;
}

function plain(document: ReturnType<typeof parseDocument>): unknown {
  try {
    return document.toJS();
  } catch {
    // Aliases of aliases that would fill the memory.
    throw new DesensitizationError("rule_file", "too many aliases");
  }
}

/** `parseRules` of a file. */
export function readRules(path: string): DesensitizationRules {
  let source: string;
  try {
    source = readFileSync(path, "utf8");
  } catch (error) {
    throw new DesensitizationError("rule_file", `${path} (${(error as NodeJS.ErrnoException).code})`);
  }
  try {
    return parseRules(source);
  } catch (error) {
    throw namingRuleFile(path, error);
  }
}

/** An error as it is, or, where rules of a file are to blame, one that names the file as well. */
export function namingRuleFile(path: string, error: unknown): unknown {
  if (!(error instanceof DesensitizationError) || !byRules.has(error.code)) return error;
  return new DesensitizationError(error.code, `${path}: ${error.particulars}`, error.line);
}

const byRules: ReadonlySet<DesensitizationErrorCode> = new Set(["rule_file", "missing_column", "unmatched_path"]);
