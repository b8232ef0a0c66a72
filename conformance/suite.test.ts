import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { attacks } from "./attacks.ts";
import { CAPABILITIES, COMPONENTS, STEPS } from "./catalogue.ts";
import { gaps, unobservable } from "./coverage.ts";
import { allBut, mandatoryOnly, proforma } from "./pics.ts";
import { methodsOf } from "./protocol.ts";
import { type Purpose, purpose } from "./purposes/purpose.ts";
import { subsets } from "./reference-subsets.ts";
import { globMatches, itemsOf, select, untested } from "./selection.ts";
import { purposes, suiteHash } from "./suite.ts";
import { clientRoles, entityRoles, type TestedRole, testedRoles } from "./target.ts";

const folder = new URL("./purposes/", import.meta.url);

test("every file of purposes is in the suite, whole", async () => {
  const inSuite = new Set(purposes);
  for (const name of readdirSync(folder).filter((file) => /^[a-z0-9-]+\.ts$/.test(file))) {
    const module = (await import(new URL(name, folder).href)) as Record<string, unknown>;
    const lists = Object.entries(module).filter(
      ([exported, list]) => exported.endsWith("Purposes") && Array.isArray(list),
    );
    for (const [exported, list] of lists)
      for (const each of list as Purpose[]) expect(inSuite.has(each), `${name}: ${exported}: ${each.id}`).toBe(true);
  }
});

test("ids are unique, and name components of the catalogue", () => {
  const ids = purposes.map(({ id }) => id);
  expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
  const components = new Set(COMPONENTS.map(({ id }) => id));
  const procedures = new Set(["F3", "F4", "A1", "A2"]);
  const strange = purposes.filter(({ component }) => !components.has(component) && !procedures.has(component));
  expect(strange.map(({ id }) => id)).toEqual([]);
});

test("steps, capabilities, methods and conditions are those of the catalogue, the protocol and the PICS", () => {
  const known = new Set([
    ...[...STEPS, ...CAPABILITIES].map(({ id }) => id),
    ...entityRoles.flatMap(methodsOf).map(({ name }) => name),
    ...testedRoles.flatMap(proforma).map(({ item }) => item),
  ]);
  const named = purposes.flatMap(({ id, steps, capabilities, methods, requires, forbids }) =>
    [...steps, ...capabilities, ...methods, ...requires, ...forbids].map((item) => ({ id, item })),
  );
  expect(named.filter(({ item }) => !known.has(item))).toEqual([]);
});

test("every purpose has a sequence diagram of its own", () => {
  const byDiagram = Map.groupBy(purposes, ({ diagram }) => JSON.stringify(diagram));
  const shared = [...byDiagram.values()].filter((list) => list.length > 1);
  expect(shared.map((list) => list.map(({ id }) => id))).toEqual([]);
  expect(purposes.filter(({ diagram }) => diagram.length === 0).map(({ id }) => id)).toEqual([]);
});

test("what is out of order is refused in comparison with a time when it is not", () => {
  const alone = purposes.filter(({ kind, twin }) => kind === "BO" && twin === undefined);
  expect(alone.map(({ id }) => id)).toEqual([]);
});

test("every step of the procedures has a purpose", () => {
  expect(gaps(purposes).filter(({ kind }) => kind === "step")).toEqual([]);
});

test("every row has a purpose or a stated reason", () => {
  expect(gaps(purposes)).toEqual([]);
});

// An item that only a purpose for several entities tests would keep each of them from ever being conformant.
describe.each([
  ["what is mandatory", mandatoryOnly],
  ["everything", (role: TestedRole) => allBut(role, "", new Set())],
] as const)("a statement that claims %s", (_, statementOf) => {
  const targets: readonly (readonly TestedRole[])[] = [...subsets, ...clientRoles.map((role) => [role])];
  test.each(targets.map((roles) => [roles.join(" and "), roles] as const))("of %s can be tested whole", (_, roles) => {
    const pics = new Map(roles.map((role) => [role, statementOf(role)]));
    const situation = { underTest: new Set(roles), harness: true, pics };
    const { selected, outOfReach } = select(purposes, situation, {});
    expect(outOfReach).toEqual([]);
    expect(untested(new Set(selected.flatMap(itemsOf)), unobservable, situation)).toEqual([]);
  });
});

test("each attack names purposes that there are, or one reason", () => {
  const matched = (glob: string) => purposes.some(({ id }) => globMatches(glob, id));
  expect(attacks.flatMap(({ shownBy }) => shownBy).filter((glob) => !matched(glob))).toEqual([]);
  expect(attacks.filter(({ shownBy, reason }) => (shownBy.length === 0) === (reason === ""))).toEqual([]);
  expect(new Set(attacks.map(({ id }) => id)).size).toBe(attacks.length);
});

test("the hash tells suites that ask for something else apart, and not those in another order", () => {
  const [first, ...others] = purposes as [Purpose, ...Purpose[]];
  expect(suiteHash()).toMatch(/^[0-9a-f]{64}$/);
  expect(suiteHash([...others, first])).toBe(suiteHash());
  expect(suiteHash(others)).not.toBe(suiteHash());
  expect(suiteHash([{ ...first, clause: "9.9" }, ...others])).not.toBe(suiteHash());
});

test.each([
  ["another form", { id: "TP/KSS/TV/XX-01" }, /no id of a test purpose/],
  ["a refusal without a twin", { expected: { code: 7 } }, /names no positive twin/],
] as const)("%s is no purpose", (_, spec, message) => {
  const good = { id: "TP/KSS/TV/BI-99", title: "", clause: "", initialState: "", stimulus: "", expected: "" } as const;
  const run = async () => {};
  expect(purpose({ ...good, run }).component).toBe("TV");
  expect(() => purpose({ ...good, ...(spec as object), run })).toThrow(message);
});
