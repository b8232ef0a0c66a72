import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { noProgress } from "../user/progress.ts";
import { StateDirectory } from "../user/state-directory.ts";
import { type CollectionOptions, prepareCollection } from "./collection.ts";

const folder = mkdtempSync(join(tmpdir(), "x1410-collection-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const rules = file("rules.yaml", "version: 1\nrules: [{columns: [name], action: drop}]");
const records = file("records.csv", "id,name\n1,Anna\n");
const state = StateDirectory.open(join(folder, "state"));

async function* input(text: string) {
  yield Buffer.from(text);
}

async function collected(path: string, options: CollectionOptions, standardInput = input("")) {
  const steps: string[] = [];
  const { data, report, close } = await (await prepareCollection(path, options, standardInput))(state, (step, text) =>
    steps.push(`${step} ${text}`),
  );
  const pieces: Uint8Array[] = [];
  for await (const piece of data) pieces.push(Uint8Array.from(piece));
  await close();
  return { text: Buffer.concat(pieces).toString(), report, steps };
}

test("desensitized whole, and counted, before anything is given on; nothing is left in the state", async () => {
  const { text, report, steps } = await collected(records, { rules });
  expect(text).toBe("id\n1\n");
  expect(report?.records).toBe(1);
  expect(steps).toEqual([`F3.1 5 bytes collected, desensitized by ${rules}`]);
  expect(state.names()).toEqual([]);
});

test("a stream is collected as well, in the format told", async () => {
  const told = { rules, format: "csv" } as const;
  expect((await collected("-", told, input("id,name\n2,Berta\n"))).text).toBe("id\n2\n");
  expect((await collected("-", { raw: true }, input("as it is"))).text).toBe("as it is");
});

test("raw data only where that is said", async () => {
  expect((await collected(records, { raw: true })).text).toBe("id,name\n1,Anna\n");
  await expect(prepareCollection(records, {})).rejects.toThrow(/--rules FILE, or --raw/);
  await expect(prepareCollection(records, { rules, raw: true })).rejects.toThrow(/exclude each other/);
});

test("what is wrong with rules is said with the name of their file", async () => {
  const broken = file("broken.yaml", "version: 1\nrules: []\n");
  await expect(prepareCollection(records, { rules: broken })).rejects.toThrow(
    `the rules are not as they should be: ${broken}: rules: `,
  );
  const other = file("other.yaml", "version: 1\nrules: [{ columns: [surname], action: drop }]\n");
  await expect(collected(records, { rules: other })).rejects.toThrow(`: ${other}: `);
});

describe("refused before anything is registered", () => {
  mkdirSync(join(folder, "directory"));
  test.each([
    ["a directory", join(folder, "directory"), /is a directory/],
    ["an empty file", file("empty.csv", ""), /is empty/],
    ["no file", join(folder, "absent.csv"), /cannot read .*absent\.csv \(ENOENT\)/],
  ])("%s", async (_, path, why) => {
    await expect(prepareCollection(path, { raw: true })).rejects.toThrow(why);
    await expect(prepareCollection(path, { rules })).rejects.toThrow(why);
  });

  test("a name that does not tell the format", async () => {
    await expect(prepareCollection(file("records.txt", "id\n"), { rules })).rejects.toThrow(/--format csv/);
  });

  test("an input that the rules do not fit, at its end too", async () => {
    const broken = file("broken.csv", "id,name\n1,Anna\n2\n");
    const collect = await prepareCollection(broken, { rules });
    await expect(collect(state, noProgress)).rejects.toMatchObject({ code: "malformed_record" });
    expect(state.names()).toEqual([]);
  });

  test("a stream of nothing", async () => {
    await expect(collected("-", { raw: true })).rejects.toThrow(/no data came/);
  });
});
