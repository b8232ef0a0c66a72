import { expect, test } from "vitest";
import { campaign, seededShare } from "../../tools/seeded-share.ts";
import { ClientBench } from "../clients/client-bench.ts";
import { referenceClient } from "../clients/client-target.ts";
import { purposes } from "../suite.ts";
import { type ClientMutant, MutantClient } from "./client-mutant.ts";
import { clientMutants, tryClientMutants } from "./client-mutants.ts";

// Impostors are waited for: those are left to the campaign.
const quick = clientMutants.filter(({ foundBy }) => !foundBy.some((id) => id.includes("/AAC/")));
const share = campaign ? clientMutants : seededShare(quick, 1);

test(`the reference passes, and each of ${share.length} of ${clientMutants.length} faulty users is found by the purposes that it names`, {
  timeout: campaign ? 1_200_000 : 240_000,
}, async () => {
  const trials = await tryClientMutants(share);
  const survivors = trials.filter(({ missed }) => missed.length > 0);
  expect(survivors.map(({ mutant, missed }) => [mutant.id, missed])).toEqual([]);
  expect(trials).toHaveLength(share.length);
});

test("every faulty user has an id and a sentence of its own, and is found by purposes of its role", () => {
  expect(new Set(clientMutants.map(({ id }) => id)).size).toBe(clientMutants.length);
  expect(new Set(clientMutants.map(({ breaks }) => breaks)).size).toBe(clientMutants.length);
  const rolesOf = new Map(purposes.map(({ id, involves }) => [id as string, involves] as const));
  for (const { role, foundBy } of clientMutants) for (const id of foundBy) expect(rolesOf.get(id)).toEqual([role]);
  for (const role of ["dp", "dc"])
    expect(clientMutants.filter((mutant) => mutant.role === role).length).toBeGreaterThanOrEqual(8);
});

test("a change that finds nothing is a fault of the kit, and no mutant", { timeout: 60_000 }, async () => {
  const stale: ClientMutant = {
    id: "stale",
    clause: "",
    breaks: "",
    role: "dc",
    foundBy: ["TP/DC/F4/BV-01"],
    edits: [{ file: "reference/data-consumer/grant.ts", find: "nothing has this", instead: "" }],
  };
  const client = new MutantClient(stale);
  try {
    const run = { timeoutMs: 30_000, signal: new AbortController().signal };
    const values = { text: "x", settings: "/nowhere", state: "/nowhere" };
    const bench = new ClientBench(referenceClient("dc"), undefined as never, client.perform);
    expect((await bench.perform("search", values, run).ended).code).toBe(1);
    expect(client.fault).toMatch(/has 0 times what a mutant changes/);
  } finally {
    await client.close();
  }
});
