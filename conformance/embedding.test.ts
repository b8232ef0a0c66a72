import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { conformanceTests, type EmbeddingOptions, type TestContext } from "./embedding.ts";
import { referenceSubset } from "./reference-subsets.ts";
import { authorityForTests, NOWHERE, stageAt } from "./stage.fixture.ts";
import { purposes } from "./suite.ts";

// As an implementer does it.
await conformanceTests(
  { test, afterAll },
  {
    target: { entities: ["kss"], start: () => referenceSubset(["kss"]) },
    filters: { ids: ["TP/KSS/TV/BI-03", "TP/KSS/TV/BV-01"] },
  },
);

interface Defined {
  readonly name: string;
  readonly check: (context: TestContext) => Promise<void>;
}

/** The tests that are defined, not run. */
async function defined(options: EmbeddingOptions): Promise<Defined[]> {
  const tests: Defined[] = [];
  const runner = {
    test: (name: string, _: { readonly timeout: number }, check: Defined["check"]) => tests.push({ name, check }),
    afterAll: () => {},
  };
  await conformanceTests(runner, options);
  return tests;
}

test("a user's side has a test for each purpose of its role, and one for the conclusion", async () => {
  const folder = await mkdtemp(join(tmpdir(), "x1410-embedding-"));
  try {
    const target = join(folder, "target.yaml");
    await writeFile(target, "underTest: data-consumer\ncommands: { access: 'x1410-no-such-client {contract}' }\n");
    const tests = await defined({ target, filters: { ids: ["TP/DC/F4/*"] } });
    expect(tests.map(({ name }) => name.split(" ")[0])).toEqual(["TP/DC/F4/BV-01", "conformance"]);
    const [first] = tests;
    await expect(first?.check({ skip: () => {} })).rejects.toThrow(/^INCONC TP\/DC\/F4\/BV-01: .*cannot be run/s);
  } finally {
    await rm(folder, { recursive: true });
  }
}, 60_000);

describe("against nobody", () => {
  authorityForTests();
  let closed = 0;
  const nobody = (): EmbeddingOptions => ({
    target: {
      entities: ["kss"],
      start: async () => {
        const { settings } = stageAt(NOWHERE);
        return { settings, close: async () => void closed++ };
      },
    },
  });
  const skipped: string[] = [];
  const context: TestContext = { skip: (why = "") => skipped.push(why) };
  const run = (tests: readonly Defined[], start: string) =>
    tests.find(({ name }) => name.startsWith(start))?.check(context);

  test("there is one test for each purpose of the entity, and one for the conclusion", async () => {
    const names = (await defined(nobody())).map(({ name }) => name.split(" ")[0]);
    const wanted = purposes.filter(({ involves }) => involves.length > 0 && involves.every((role) => role === "kss"));
    expect(names).toEqual([...wanted.map(({ id }) => id), "conformance"]);
  });

  test("nothing passes: inconclusive throws, out of reach is skipped, and the conclusion fails", async () => {
    const tests = await defined(nobody());
    await expect(run(tests, "TP/KSS/KSM/BV-01")).rejects.toThrow(
      /^INCONC TP\/KSS\/KSM\/BV-01: .*\n(.*\n)*again: +npx x1410/,
    );
    await run(tests, "TP/KSS/TV/BI-03");
    expect(skipped).toEqual([expect.stringMatching(/add a section harness/)]);
    await expect(run(tests, "conformance")).rejects.toThrow(/^inconclusive:\n/);
    expect(closed).toBe(1);
  });

  test("a filter that leaves nothing fails", async () => {
    const tests = await defined({ ...nobody(), filters: { ids: ["TP/NONE/*"] } });
    expect(tests.map(({ name }) => name)).toEqual(["conformance"]);
    await expect(run(tests, "conformance")).rejects.toThrow(/no purpose was selected/);
  });
});
