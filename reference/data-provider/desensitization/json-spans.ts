// Where the values that rules name stand in a line of JSON. The line is known to be well-formed: JSON.parse said so.
import { decode } from "./byte-text.ts";
import { DesensitizationError } from "./desensitization-error.ts";
import type { PathNode } from "./json-path.ts";

// Far beyond any record, far below what exhausts the stack.
const DEPTH_MAX = 1000;
const QUOTE = 34;
const BACKSLASH = 92;

/** A value on which a rule applies: `line.slice(start, end)`. */
export interface ValueSpan {
  readonly node: PathNode;
  readonly start: number;
  readonly end: number;
}

/** A part of the line to leave out: members or elements, with the commas that go with them. */
export interface Removal {
  readonly start: number;
  readonly end: number;
}

export interface JsonSpans {
  readonly values: ValueSpan[];
  readonly removals: Removal[];
}

/** The values of `line` (byte text) that `tree` reaches, duplicates of a name included. */
export function jsonSpans(line: string, tree: PathNode, lineNumber: number): JsonSpans {
  const spans: JsonSpans = { values: [], removals: [] };
  const start = line.startsWith("\xef\xbb\xbf") ? 3 : 0;
  new Scanner(line, lineNumber, spans).value(blanks(line, start), tree, 0);
  return spans;
}

interface Item {
  readonly start: number;
  readonly end: number;
  readonly dropped: boolean;
}

class Scanner {
  readonly #line: string;
  readonly #lineNumber: number;
  readonly #spans: JsonSpans;

  constructor(line: string, lineNumber: number, spans: JsonSpans) {
    this.#line = line;
    this.#lineNumber = lineNumber;
    this.#spans = spans;
  }

  /** Reads the value at `start` and answers where it ends. */
  value(start: number, node: PathNode | undefined, depth: number): number {
    if (depth > DEPTH_MAX)
      throw new DesensitizationError("malformed_record", `nested deeper than ${DEPTH_MAX}`, this.#lineNumber);
    const first = this.#line[start];
    let end: number;
    if (first === "{") end = this.#items(start, "}", node, depth);
    else if (first === "[") end = this.#items(start, "]", node, depth);
    else end = first === '"' ? stringEnd(this.#line, start) : scalarEnd(this.#line, start);
    if (node?.target !== undefined || node?.names !== undefined) this.#spans.values.push({ node, start, end });
    return end;
  }

  #items(start: number, close: "}" | "]", node: PathNode | undefined, depth: number): number {
    const line = this.#line;
    const items: Item[] = [];
    let at = blanks(line, start + 1);
    while (line[at] !== close) {
      const from = at;
      let next = node?.elements;
      if (close === "}") {
        const keyEnd = stringEnd(line, at);
        next = node === undefined ? undefined : node.members.get(this.#key(at, keyEnd));
        at = blanks(line, blanks(line, keyEnd) + 1);
      }
      at = this.value(at, next, depth + 1);
      items.push({ start: from, end: at, dropped: next?.target?.treatment.drops ?? false });
      at = blanks(line, at);
      if (line[at] === ",") at = blanks(line, at + 1);
    }
    this.#remove(items);
    return at + 1;
  }

  #key(start: number, end: number): string {
    const key = decode(this.#line.slice(start, end), "the name of a member", this.#lineNumber);
    return key.includes("\\") ? (JSON.parse(key) as string) : key.slice(1, -1);
  }

  /** An item goes with the comma after it; the last ones, with the comma before them. */
  #remove(items: readonly Item[]): void {
    let lastKept = items.length - 1;
    while (items[lastKept]?.dropped) lastKept -= 1;
    items.forEach((item, index) => {
      const next = items[index + 1];
      if (item.dropped && index < lastKept && next !== undefined)
        this.#spans.removals.push({ start: item.start, end: next.start });
    });
    const end = items.at(-1)?.end;
    const start = items[lastKept]?.end ?? items[0]?.start;
    if (lastKept < items.length - 1 && start !== undefined && end !== undefined)
      this.#spans.removals.push({ start, end });
  }
}

function stringEnd(line: string, start: number): number {
  let at = start + 1;
  for (let code = line.charCodeAt(at); code !== QUOTE; code = line.charCodeAt(at)) at += code === BACKSLASH ? 2 : 1;
  return at + 1;
}

const SCALAR = /[^\s,\]}]+/y;

function scalarEnd(line: string, start: number): number {
  SCALAR.lastIndex = start;
  SCALAR.test(line);
  return SCALAR.lastIndex;
}

function blanks(line: string, start: number): number {
  let at = start;
  for (let code = line.charCodeAt(at); code === 32 || (code >= 9 && code <= 13); code = line.charCodeAt(at)) at += 1;
  return at;
}
