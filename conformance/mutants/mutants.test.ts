import { expect, test } from "vitest";
import { campaign, seededShare } from "../../tools/seeded-share.ts";
import { mutants, tryMutants } from "./mutants.ts";

// Each mutant is one whole replay of the four procedures.
const share = seededShare(mutants, 8);

test(`the kit passes the reference and finds ${share.length} of ${mutants.length} faulty variants of it`, {
  timeout: campaign ? 900_000 : 120_000,
}, async () => {
  const trials = await tryMutants(share);
  expect(trials.filter(({ foundBy }) => foundBy.length === 0).map(({ mutant }) => mutant.id)).toEqual([]);
  expect(trials).toHaveLength(share.length);
});

test("every mutant has an id and a sentence of its own", () => {
  expect(new Set(mutants.map(({ id }) => id)).size).toBe(mutants.length);
  expect(new Set(mutants.map(({ breaks }) => breaks)).size).toBe(mutants.length);
  expect(mutants.length).toBeGreaterThanOrEqual(40);
});
