// A small line plot as SVG, without any library: figures from a measurement, to be looked at in a browser or a repository.

export interface Series {
  readonly name: string;
  /** In the order of x. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Plot {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly series: readonly Series[];
}

const WIDTH = 720;
const HEIGHT = 360;
const MARGIN = { top: 44, right: 24, bottom: 52, left: 84 };
const TICKS = 5;
const COLOURS = ["#1f5fa8", "#b5451b", "#2f7d32", "#6b3fa0"];

/** Both axes begin at 0, so that what is flat looks flat and what is not does not. */
export function linePlot({ title, x, y, series }: Plot): string {
  const all = series.flatMap(({ points }) => points);
  const right = niceAbove(Math.max(...all.map(([at]) => at)));
  const top = niceAbove(Math.max(...all.map(([, value]) => value)));
  const inner = { width: WIDTH - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const atX = (value: number) => MARGIN.left + (value / right) * inner.width;
  const atY = (value: number) => MARGIN.top + inner.height - (value / top) * inner.height;
  const ticks = Array.from({ length: TICKS + 1 }, (_, index) => index / TICKS);
  const text = (px: number, py: number, anchor: string, words: string, extra = "") =>
    `<text x="${px.toFixed(1)}" y="${py.toFixed(1)}" text-anchor="${anchor}"${extra}>${escaped(words)}</text>`;
  const line = (x1: number, y1: number, x2: number, y2: number, stroke: string) =>
    `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="${stroke}"/>`;
  const floor = atY(0);
  const middle = MARGIN.top + inner.height / 2;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text(MARGIN.left, 24, "start", title, ' font-size="15"'),
    ...ticks.flatMap((part) => [
      line(MARGIN.left, atY(part * top), WIDTH - MARGIN.right, atY(part * top), "#ddd"),
      text(MARGIN.left - 8, atY(part * top) + 4, "end", figure(part * top)),
      text(atX(part * right), floor + 18, "middle", figure(part * right)),
    ]),
    line(MARGIN.left, floor, WIDTH - MARGIN.right, floor, "#333"),
    text(MARGIN.left + inner.width / 2, HEIGHT - 10, "middle", x),
    text(18, middle, "middle", y, ` transform="rotate(-90 18 ${middle})"`),
    ...series.flatMap(({ name, points }, index) => {
      const colour = COLOURS[index % COLOURS.length] ?? "";
      const path = points.map(([px, py]) => `${atX(px).toFixed(1)},${atY(py).toFixed(1)}`);
      return [
        `<polyline points="${path.join(" ")}" fill="none" stroke="${colour}" stroke-width="2"/>`,
        ...path.map(
          (point) => `<circle cx="${point.split(",")[0]}" cy="${point.split(",")[1]}" r="3" fill="${colour}"/>`,
        ),
        text(WIDTH - MARGIN.right, 24 + index * 15, "end", name, ` fill="${colour}"`),
      ];
    }),
    "</svg>",
  ].join("\n")}\n`;
}

/** The next of 1, 2, 2.5, 5 and 10 times a power of ten. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, Number.MIN_VALUE)));
  return ([1, 2, 2.5, 5].find((step) => value <= step * power) ?? 10) * power;
}

function figure(value: number): string {
  return Number(value.toPrecision(6)).toLocaleString("en");
}

function escaped(words: string): string {
  return words.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
