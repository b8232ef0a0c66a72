// Sequence diagrams in SVG: lifelines, grouped by functional entity, and one row for each arrow.
import { type Markup, markup, when } from "../markup.ts";
import { markAt, words } from "./mark.ts";
import type { Shown } from "./shown.ts";

export interface Lifeline {
  readonly id: string;
  /** The functional entity that it is a component of, or itself. */
  readonly entity: string;
  /** The name in full. */
  readonly name: string;
}

export interface DrawnArrow {
  /** e.g. "F3.2.1"; "" where arrows have no numbers. */
  readonly number: string;
  readonly from: string;
  readonly to: string;
  readonly text: string;
  /** Both ways, as in a mutual authentication. */
  readonly mutual: boolean;
  /** Seen on an interface, shown by a consequence, or neither. */
  readonly line: "solid" | "dashed" | "dotted";
  /** Undefined: the arrow illustrates, and is judged elsewhere. */
  readonly shown: Shown | undefined;
  /** Fragment of what the arrow opens; "" for none. */
  readonly opens: string;
}

export interface Diagram {
  readonly title: string;
  readonly lifelines: readonly Lifeline[];
  readonly arrows: readonly DrawnArrow[];
}

/** All in CSS pixels of a diagram shown in its own size. */
const COLUMN = 88;
const HEAD = 58;
const LINE = 15;
const CHARACTER = 6.3;
const LEAST_TEXT = 250;
const MOST_CHARACTERS = 84;

export function sequenceDiagram({ title, lifelines, arrows }: Diagram): Markup {
  const numbered = arrows.some(({ number }) => number !== "");
  const left = numbered ? 82 : 12;
  const place = new Map(lifelines.map(({ id }, index) => [id, left + COLUMN / 2 + index * COLUMN] as const));
  const width = Math.max(left + lifelines.length * COLUMN + 8, 420);
  let y = HEAD + 8;
  const rows = arrows.map((arrow) => {
    const row = rowOf(arrow, place, y, width);
    y += row.height;
    return row.drawn;
  });
  const bottom = y + 6;
  return markup`<svg class="sequence" viewBox="0 0 ${width} ${bottom + 26}" width="${width}" height="${bottom + 26}" role="group" aria-label="${title}">
${bands(lifelines, left, bottom)}${lifelines.map((one) => lifeline(one, place.get(one.id) ?? 0, bottom))}${rows}</svg>
`;
}

/** A band behind the components of one entity. */
function bands(lifelines: readonly Lifeline[], left: number, bottom: number): Markup[] {
  const groups = Map.groupBy(lifelines, ({ entity }) => entity);
  return [...groups].flatMap(([entity, members]) => {
    if (members.length === 1 && members[0]?.id === entity) return [];
    const first = lifelines.findIndex((one) => one.entity === entity);
    const [x, width] = [left + first * COLUMN + 3, members.length * COLUMN - 6];
    return markup`<rect class="band" x="${x}" y="2" width="${width}" height="${bottom + 20}" rx="6"/><text class="entity" x="${x + width / 2}" y="17">${entity}</text>\n`;
  });
}

function lifeline({ id, name }: Lifeline, x: number, bottom: number): Markup {
  const width = Math.max(76, Math.min(COLUMN - 2, id.length * 8));
  const head = (y: number) =>
    markup`<rect class="head" x="${x - width / 2}" y="${y}" width="${width}" height="24" rx="4"/><text class="party" x="${x}" y="${y + 16.5}">${id}</text>`;
  return markup`<g><title>${name}</title><line class="life" x1="${x}" y1="${HEAD - 10}" x2="${x}" y2="${bottom}"/>${head(24)}${head(bottom - 4)}</g>\n`;
}

function rowOf(arrow: DrawnArrow, place: ReadonlyMap<string, number>, y: number, width: number) {
  const { number, from, to, text, shown, opens } = arrow;
  const [x1, x2] = [place.get(from) ?? 0, place.get(to) ?? 0];
  const inside = x1 === x2;
  const [low, high] = [Math.min(x1, x2), Math.max(x1, x2)];
  const start = inside ? x1 + 16 : low + 10;
  const fromRight = width - start < LEAST_TEXT;
  const end = inside ? x1 - 16 : high - 10;
  const room = Math.min(MOST_CHARACTERS, Math.floor((fromRight ? end - 4 : width - start - 8) / CHARACTER));
  const lines = wrapped(text, Math.max(room, 24));
  const height = lines.length * LINE + (inside ? 14 : 20);
  const label = lines.map(
    (line, index) =>
      markup`<text class="label" x="${fromRight ? end : start}" y="${y + 14 + index * LINE}" text-anchor="${fromRight ? "end" : "start"}">${line}</text>`,
  );
  const middle = inside ? y + height / 2 - 1 : y + lines.length * LINE + 10;
  const drawn = inside
    ? markup`<rect class="inside" x="${x1 - 7}" y="${middle - 9}" width="14" height="18" rx="3"/>`
    : shaft(arrow, x1, x2, middle);
  const judged =
    shown === undefined
      ? markup``
      : markup`${markAt(shown, 6, y + height / 2 - 8)}<text class="number" x="24" y="${y + height / 2 + 3}">${number}</text>`;
  const content = markup`<rect class="hit" x="2" y="${y}" width="${width - 4}" height="${height}" rx="4"/>${drawn}${label}${judged}`;
  const name = `${number} ${inside ? from : `${from} to ${to}`}: ${text}${shown === undefined ? "" : `: ${words[shown]}`}`;
  const classes = shown === undefined ? "row" : `row v-${shown}`;
  return {
    height,
    drawn:
      opens === ""
        ? markup`<g class="${classes}"><title>${name}</title>${content}</g>\n`
        : markup`<a class="${classes}" href="#${opens}" data-opens="${opens}" aria-label="${name}">${content}</a>\n`,
  };
}

function shaft({ line, mutual }: DrawnArrow, x1: number, x2: number, y: number): Markup {
  const direction = Math.sign(x2 - x1);
  const tip = (x: number, towards: number) => markup`<path class="tip" d="M${x} ${y}l${-9 * towards} -4.5v9z"/>`;
  const ends = mutual ? [x1 + 8 * direction, x2 - 8 * direction] : [x1, x2 - 8 * direction];
  return markup`<line class="shaft ${line}" x1="${ends[0] ?? x1}" y1="${y}" x2="${ends[1] ?? x2}" y2="${y}"/>${tip(x2 - direction, direction)}${when(mutual, () => tip(x1 + direction, -direction))}`;
}

/** Lines of at most so many characters, broken at spaces. */
function wrapped(text: string, room: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > room) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
