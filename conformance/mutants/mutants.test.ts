import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { campaign, seededShare } from "../../tools/seeded-share.ts";
import type { Purpose } from "../purposes/purpose.ts";
import { purposes } from "../suite.ts";
import { isServer } from "../target.ts";
import { found, mutants, purposeOf, tryMutants } from "./mutants.ts";

// Those that a purpose waits for, as for a revocation, are left to the campaign.
const quick = mutants.filter(({ foundBy }) => foundBy.length < 4 && !foundBy.some((id) => /AAC|ALL/.test(id)));
const share = campaign ? mutants : seededShare(quick, 5);

test(`the reference passes, and each of ${share.length} of ${mutants.length} faulty variants is found by whom it names`, {
  timeout: campaign ? 1_800_000 : 120_000,
}, async () => {
  const trials = await tryMutants(share);
  const survivors = trials.filter((trial) => !found(trial));
  expect(survivors.map(({ mutant, missed }) => [mutant.id, missed])).toEqual([]);
  expect(trials).toHaveLength(share.length);
});

test("every mutant has an id and a sentence of its own, and is found by purposes that there are", () => {
  expect(new Set(mutants.map(({ id }) => id)).size).toBe(mutants.length);
  expect(new Set(mutants.map(({ breaks }) => breaks)).size).toBe(mutants.length);
  for (const { foundBy } of mutants) for (const id of foundBy) expect(purposeOf(id).id).toBe(id);
});

const killers = new Set<string>(mutants.flatMap(({ foundBy }) => foundBy));
const ofServers = ({ involves }: Purpose) => involves.length > 0 && involves.every(isServer);

test("every file of purposes has a purpose that a mutant of a server shows to bite", async () => {
  const folder = new URL("../purposes/", import.meta.url);
  const without: string[] = [];
  for (const name of readdirSync(folder).filter((file) => /^[a-z0-9-]+\.ts$/.test(file))) {
    const module = (await import(new URL(name, folder).href)) as Record<string, unknown>;
    const list = Object.entries(module).flatMap(([exported, value]) =>
      exported.endsWith("Purposes") && Array.isArray(value) ? (value as Purpose[]).filter(ofServers) : [],
    );
    if (list.length > 0 && !list.some(({ id }) => killers.has(id))) without.push(name);
  }
  expect(without).toEqual([]);
});

/** Purposes of servers that no mutant is for yet. Lower it with every mutant added. */
const UNPROVEN = 60;

test("most purposes of servers are shown to bite", () => {
  const unproven = purposes.filter((one) => ofServers(one) && !killers.has(one.id)).map(({ id }) => id);
  expect(unproven.length, unproven.join(" ")).toBeLessThanOrEqual(UNPROVEN);
});
