// Marks of verdicts: a shape and a word each, for colour alone tells some readers nothing.
import { type Markup, markup } from "../markup.ts";
import type { Shown } from "./shown.ts";

export const words: Readonly<Record<Shown, string>> = {
  PASS: "passed",
  FAIL: "failed",
  INCONC: "inconclusive",
  ERROR: "fault of the kit",
  HIDDEN: "not observable",
  UNTESTED: "not tested",
};

const shapes: Readonly<Record<Shown, string>> = {
  PASS: "M4.5 8.3 7 10.8 11.6 5.4",
  FAIL: "M5.2 5.2 10.8 10.8 M10.8 5.2 5.2 10.8",
  INCONC: "M5.8 6.2C5.8 3.6 10.2 3.7 10.2 6.3 10.2 8 8 8 8 9.4 M8 11.6V11.7",
  ERROR: "M8 4.2V8.8 M8 11.5V11.6",
  HIDDEN: "M5 8H11",
  UNTESTED: "",
};

/** Shapes that `mark` refers to; once in a page. */
export function markSymbols(): Markup {
  const symbols = (Object.keys(shapes) as Shown[]).map((shown) => {
    const path = shapes[shown] === "" ? markup`` : markup`<path class="glyph" d="${shapes[shown]}"/>`;
    return markup`<symbol id="m-${shown}" viewBox="0 0 16 16"><circle class="disc" cx="8" cy="8" r="7"/>${path}</symbol>`;
  });
  return markup`<svg class="symbols" aria-hidden="true" width="0" height="0">${symbols}</svg>\n`;
}

/** Decoration beside a word that says the same. */
export function mark(shown: Shown): Markup {
  return markup`<svg class="mark v-${shown}" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><use href="#m-${shown}"/></svg>`;
}

/** Inside a diagram. */
export function markAt(shown: Shown, x: number, y: number): Markup {
  return markup`<use class="v-${shown}" href="#m-${shown}" x="${x}" y="${y}" width="14" height="14"/>`;
}

/** Mark and word. */
export function chip(shown: Shown): Markup {
  return markup`<span class="chip v-${shown}">${mark(shown)}${shown === "HIDDEN" || shown === "UNTESTED" ? words[shown] : shown}</span>`;
}
