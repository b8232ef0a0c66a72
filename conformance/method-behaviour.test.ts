import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { behaviourCells, behaviours } from "./method-behaviour.ts";
import { methodsOf } from "./protocol.ts";
import { itemsOf } from "./selection.ts";
import { purposes } from "./suite.ts";
import { entityRoles } from "./target.ts";

const cells = behaviourCells(purposes);
const named = ({ method, behaviour }: (typeof cells)[number]) => `${method} ${behaviour}`;

test("each method has purposes for valid, invalid and inopportune behaviour, or one stated reason", () => {
  expect(cells).toHaveLength(entityRoles.flatMap(methodsOf).length * behaviours.length);
  expect(cells.filter((cell) => cell.purposes.length === 0 && cell.reason === "").map(named)).toEqual([]);
  expect(cells.filter((cell) => cell.purposes.length > 0 && cell.reason !== "").map(named)).toEqual([]);
});

test("the purposes that a reason names are there", () => {
  const ids = cells.flatMap(({ reason }) => reason.match(/TP\/[A-Z0-9/-]+/g) ?? []);
  expect(ids.length).toBeGreaterThan(0);
  expect(ids.filter((id) => !purposes.some((one) => one.id === id))).toEqual([]);
});

test("a method counts as tested by what it does, not by what it refuses", () => {
  for (const purpose of purposes) {
    const counted = purpose.methods.filter((method) => itemsOf(purpose).includes(method));
    expect(counted, purpose.id).toEqual(purpose.kind === "CA" || purpose.kind === "BV" ? purpose.methods : []);
  }
});

test("each reason is in the documentation", () => {
  const page = readFileSync(new URL("../docs/conformance.md", import.meta.url), "utf8");
  for (const { method, reason } of cells) if (reason !== "") expect(page, method).toContain(method.split("/")[1]);
});
