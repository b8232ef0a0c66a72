import { byteOrderMark, decode, encode } from "./byte-text.ts";
import { DesensitizationError } from "./desensitization-error.ts";
import type { PathNode } from "./json-path.ts";
import { jsonSpans, type ValueSpan } from "./json-spans.ts";
import type { Plan, Target } from "./plan.ts";

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/**
 * JSON Lines after the plan, whose paths are `tree`, as byte text. Only the values that a rule changed are written anew; everything else, spelling
 * of numbers and escapes, duplicate members and blanks included, is the input's own bytes.
 */
export async function* desensitizeJsonLines(
  input: AsyncIterable<string>,
  plan: Plan,
  tree: PathNode,
  options: { readonly maxRecordBytes: number },
): AsyncGenerator<string, void> {
  const seen = new Set<Target>();
  let line = 1;
  let held = "";
  function* complete(text: string): Generator<string, void> {
    if (text.length > options.maxRecordBytes)
      throw new DesensitizationError("record_too_long", `more than ${options.maxRecordBytes} bytes`, line);
    yield treated(text, line, tree, plan, seen);
    line += 1;
  }
  for await (const piece of input) {
    let output = "";
    let from = 0;
    for (let end = piece.indexOf("\n"); end !== -1; end = piece.indexOf("\n", from)) {
      for (const text of complete(held + piece.slice(from, end))) output += `${text}\n`;
      held = "";
      from = end + 1;
    }
    held += piece.slice(from);
    if (output !== "") yield output;
    if (held.length > options.maxRecordBytes)
      throw new DesensitizationError("record_too_long", `more than ${options.maxRecordBytes} bytes`, line);
  }
  if (held !== "") yield* complete(held);
  const unmatched = plan.targets.find((target) => !target.optional && !seen.has(target));
  // A path that is misspelt would let everything through: better no output at all.
  if (unmatched !== undefined && plan.records > 0)
    throw new DesensitizationError("unmatched_path", JSON.stringify(unmatched.field));
}

function treated(line: string, number: number, tree: PathNode, plan: Plan, seen: Set<Target>): string {
  const content = number === 1 ? line.slice(byteOrderMark(line)) : line;
  if (/^[ \t\r]*$/.test(content)) return line;
  try {
    JSON.parse(content);
  } catch {
    // The parser's own text quotes the line.
    throw new DesensitizationError("malformed_record", "the line is not JSON", number);
  }
  plan.records += 1;
  const { values, removals } = jsonSpans(line, tree, number);
  const names = namesIn(line, number, values);
  const edits: Edit[] = removals.map((removal) => ({ ...removal, text: "" }));
  for (const { node, start, end } of values) {
    if (node.target === undefined) continue;
    seen.add(node.target);
    const edit = edited(line.slice(start, end), number, node.target, names);
    if (edit !== undefined && !node.target.treatment.drops) edits.push({ start, end, text: edit });
  }
  let output = "";
  let copied = 0;
  for (const { start, end, text } of edits.toSorted((a, b) => a.start - b.start)) {
    output += line.slice(copied, start) + text;
    copied = end;
  }
  return output + line.slice(copied);
}

/** The JSON text, as byte text, that takes the place of `source`; undefined where that stays. */
function edited(
  source: string,
  number: number,
  { field, treatment }: Target,
  names: ReadonlyMap<string, string[]>,
): string | undefined {
  if (source === "null") return undefined;
  const structured = source.startsWith("{") || source.startsWith("[");
  if (structured && !treatment.drops)
    throw new DesensitizationError("unsuitable_value", `path ${JSON.stringify(field)}`, number);
  const value = structured ? source : scalar(source, `path ${JSON.stringify(field)}`, number);
  const sought = treatment.nameFields.flatMap((path) => names.get(path) ?? []);
  const result = treatment.apply(value, sought);
  return result === value ? undefined : result === undefined ? "null" : encode(JSON.stringify(result));
}

function namesIn(line: string, number: number, values: readonly ValueSpan[]): ReadonlyMap<string, string[]> {
  const names = new Map<string, string[]>();
  for (const { node, start, end } of values) {
    if (node.names === undefined || line[start] !== '"') continue;
    const name = scalar(line.slice(start, end), `path ${JSON.stringify(node.names)}`, number);
    names.set(node.names, [...(names.get(node.names) ?? []), name]);
  }
  return names;
}

/** A string's value; of a number, true and false, their own spelling. */
function scalar(source: string, place: string, number: number): string {
  return source.startsWith('"') ? (JSON.parse(decode(source, place, number)) as string) : source;
}
