import type { Generalize } from "./rules.ts";

/** The coarser value, or undefined where the value does not fit the manner and must not stay as it is. */
export type Generalization = (value: string) => string | undefined;

export function generalization(rule: Generalize): Generalization {
  if (rule.date !== undefined) return coarserDate(rule.date, rule.layout ?? "YYYY-MM-DD");
  if (rule.width !== undefined) return rangeOfWidth(rule.width);
  if (rule.bounds !== undefined) return rangeBetween(rule.bounds);
  const kept = rule.prefix ?? 0;
  return (value) => [...value].slice(0, kept).join("");
}

function coarserDate(unit: "year" | "month", layout: string): Generalization {
  const escaped = layout.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const pattern = escaped
    .replace("YYYY", "(?<year>\\d{4})")
    .replace("MM", "(?<month>0[1-9]|1[0-2])")
    .replace("DD", "(?:0[1-9]|[12]\\d|3[01])");
  const expression = new RegExp(`^${pattern}(?!\\d)`);
  return (value) => {
    const parts = expression.exec(value)?.groups;
    if (parts === undefined) return undefined;
    return unit === "year" ? parts["year"] : `${parts["year"]}-${parts["month"]}`;
  };
}

const NUMBER = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;

function numberIn(value: string): number | undefined {
  const trimmed = value.trim();
  const number = Number(trimmed);
  return NUMBER.test(trimmed) && Number.isFinite(number) ? number : undefined;
}

function rangeOfWidth(width: number): Generalization {
  // Multiples of 0.1 and the like are written with the digits of the width, not with those of binary floating point.
  const digits = Math.min(20, (/\.(\d+)/.exec(String(width))?.[1] ?? "").length);
  return (value) => {
    const number = numberIn(value);
    if (number === undefined) return undefined;
    const step = Math.floor(number / width);
    return `${(step * width).toFixed(digits)}..<${((step + 1) * width).toFixed(digits)}`;
  };
}

function rangeBetween(bounds: readonly number[]): Generalization {
  return (value) => {
    const number = numberIn(value);
    if (number === undefined) return undefined;
    const above = bounds.findIndex((bound) => number < bound);
    if (above === 0) return `<${bounds[0]}`;
    return above === -1 ? `>=${bounds.at(-1)}` : `${bounds[above - 1]}..<${bounds[above]}`;
  };
}
